"""Spool and store behind one thread: the only place where the service writes records."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from better_claude.clock import Clock
from better_claude.collect.spool import SpoolReader
from better_claude.errors import StoreError
from better_claude.model import Record
from better_claude.paths import Paths
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, RunningRun, SessionSummary
from better_claude.store.writer import Writer

T = TypeVar("T")
_BATCH = 5000
_RECENT_SESSIONS = 64

Listener = Callable[[Sequence[Record]], None]
# Name, inode and size of each spool file: what changes when a record is written.
_Sight = frozenset[tuple[str, int, int]]


class Recorder:
    """Write records from the event loop, in order, in a thread that owns database and spool reader.

    After a failure both are opened anew at the next call: whatever was not committed is read again.
    ``listener`` is told of the records that were read from the spool, in the event loop's thread,
    after their commit.
    """

    def __init__(self, paths: Paths, clock: Clock, listener: Listener) -> None:
        self._paths = paths
        self._clock = clock
        self._listener = listener
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._draining = asyncio.Lock()
        self._writer: Writer | None = None
        self._reader: SpoolReader | None = None
        self._seen: _Sight | None = None

    async def drain(self) -> int:
        """Store everything that is in the spool now; return how many records that were.

        Raises StoreError if the store does not take them; they stay in the spool.
        """
        total = 0
        async with self._draining:
            sight = _look(self._paths.spools)
            if sight == self._seen:
                return 0
            more = True
            while more:
                records, more = await self._call(self._store_batch)
                self._listener(records)
                total += len(records)
            # Taken before the reading: what came meanwhile makes the next sight another one.
            self._seen = sight
        return total

    async def store(self, records: Sequence[Record]) -> None:
        """Store records that do not come from the spool; raises StoreError."""
        if records:
            await self._call(lambda: self._open().commit(records))

    async def running(self) -> list[RunningRun]:
        """Return the runs that have begun and not ended."""
        return await self._call(lambda: self._open().running())

    async def recent_sessions(self, since_ns: int) -> list[SessionSummary]:
        """Return the sessions that were active since then, newest first, at most 64."""
        return await self._call(lambda: _recent(self._paths.store, since_ns))

    async def mark_lost(self, ends: Mapping[str, int]) -> None:
        """End the runs whose processes are gone, each at its wall time."""
        await self._call(lambda: self._open().mark_lost(ends))

    async def expire(self, detailed_before_ns: int, aggregated_before_ns: int) -> int:
        """Delete some old rows and all read spool files; return how many rows, 0 at the end."""
        return await self._call(lambda: self._expire(detailed_before_ns, aggregated_before_ns))

    async def close(self) -> None:
        """Close the database and end the thread."""
        await self._call(self._close)
        self._thread.shutdown()

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guard, work)

    def _guard(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except BaseException:
            self._close()
            raise

    def _open(self) -> Writer:
        if self._writer is None:
            self._writer = Writer.open(self._paths.store, self._clock)
        return self._writer

    def _store_batch(self) -> tuple[Sequence[Record], bool]:
        writer = self._open()
        if self._reader is None:
            self._reader = SpoolReader(self._paths.spools, writer.spool_marks())
        batch = self._reader.read(self._clock.wall_ns(), limit=_BATCH)
        if batch.marks or batch.records or batch.rejects:
            writer.commit(batch.records, batch.marks, batch.rejects)
        self._reader.accept(batch)
        return batch.records, batch.more

    def _expire(self, detailed_before_ns: int, aggregated_before_ns: int) -> int:
        writer = self._open()
        if self._reader is not None and (gone := self._reader.sweep(self._clock.wall_ns())):
            writer.commit((), gone=gone)
        return writer.expire(detailed_before_ns, aggregated_before_ns)

    def _close(self) -> None:
        writer, self._writer, self._reader, self._seen = self._writer, None, None, None
        if writer is not None:
            with contextlib.suppress(StoreError):
                writer.close()


def _recent(store: Path, since_ns: int) -> list[SessionSummary]:
    with open_reader(store) as reader:
        return reader.sessions(RunFilter(since_ns=since_ns), limit=_RECENT_SESSIONS)


def _look(folders: Sequence[Path]) -> _Sight:
    """Return what stands in the spool: 20 µs, so that an idle service costs nothing."""
    found: set[tuple[str, int, int]] = set()
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found.add((entry.path, status.st_ino, status.st_size))
    return frozenset(found)
