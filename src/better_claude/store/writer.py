"""Write records, and how far their sources have been read, in one transaction."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from better_claude.clock import Clock, SystemClock
from better_claude.collect.marks import ImportMark, Reject, SpoolMark
from better_claude.errors import StoreError
from better_claude.model import Mode, Outcome, Record, Run, RunStart, SessionSample
from better_claude.store import rollup, running
from better_claude.store.codes import OUTCOME_CODE, signed_run
from better_claude.store.expiry import expire
from better_claude.store.failures import explained
from better_claude.store.interning import Interner
from better_claude.store.migrations import check_ours, migrate
from better_claude.store.rollup import OUTCOME, RUN, RunRow
from better_claude.store.rows import TABLES, Row, fitting, is_placed, run_row, start_row
from better_claude.store.sessions import Sessions
from better_claude.store.views import RunningRun

# How long to wait for a lock: an import may be writing at the same time as the service.
BUSY_SECONDS = 10.0
# What the log is cut to after a burst of writing.
_LOG_BYTES = 64 << 20
_LOST = OUTCOME_CODE[Outcome.LOST]
_RUN_PLACES = ", ".join("?" * 35)
_INSERT_RUN = f"INSERT OR IGNORE INTO runs VALUES ({_RUN_PLACES})"
_FIND_RUN = "SELECT * FROM runs WHERE (hook, start_ns, run) = (?, ?, ?)"


class CommitResult(msgspec.Struct, frozen=True):
    """What a commit changed: runs and starts that are new, other records, and what was there."""

    runs: int
    starts: int
    others: int
    duplicates: int


class Writer:
    """The writing connection of one process.

    Synchronous; open, use and close it in one thread. Several processes may hold one (the service
    and an import): each commit takes the lock for itself.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._texts = Interner(connection)
        self._sessions = Sessions(connection)

    @classmethod
    def open(cls, path: Path, clock: Clock | None = None) -> Self:
        """Open the database at ``path`` for writing; make it, or migrate it, if need be.

        Raises StoreError if it cannot be opened, is not ours, or is from a newer version.
        """
        try:
            # For the owner only, before SQLite makes it with the umask's mode.
            path.touch(mode=0o600)
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise explained(error, path) from error
        try:
            _prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise explained(error, path) from error
        except StoreError:
            connection.close()
            raise
        return cls(connection, clock or SystemClock())

    def commit(
        self,
        records: Sequence[Record],
        marks: Sequence[SpoolMark] = (),
        rejects: Sequence[Reject] = (),
        imports: Sequence[ImportMark] = (),
        gone: Sequence[SpoolMark] = (),
    ) -> CommitResult:
        """Store all of this, or nothing.

        Records that are known already change nothing, whatever their order: an end may come
        before its start. Records whose time cannot be one are left out. ``gone`` names spool files
        that were put aside. Raises StoreError, with nothing written, if the disk is full or the
        database is locked for more than 10 s.
        """
        records = [record for record in records if is_placed(record)]
        starts = [record for record in records if isinstance(record, RunStart)]
        runs = [record for record in records if isinstance(record, Run)]
        with self._transaction():
            new_runs = self._store_runs(runs)
            new_starts = self._store_starts(starts, runs)
            others = self._store_others(records)
            self._sessions.see(records)
            self._store_marks(marks, gone, imports)
            self._store_rejects(rejects)
            self._store_progress(starts, runs)
        return CommitResult(
            runs=new_runs,
            starts=new_starts,
            others=others,
            duplicates=len(records) - new_runs - len(starts) - others,
        )

    def spool_marks(self) -> list[SpoolMark]:
        """Return how far each spool file has been read."""
        rows = self._connection.execute(
            "SELECT folder, file, inode, offset_bytes FROM spool_offsets"
        )
        return [SpoolMark(*row) for row in rows]

    def import_marks(self) -> dict[str, ImportMark]:
        """Return how far each transcript has been read, by path."""
        rows = self._connection.execute(
            "SELECT path, inode, size_bytes, mtime_ns, offset_bytes, identity FROM imports"
        )
        return {row[0]: ImportMark(*row) for row in rows}

    def running(self) -> list[RunningRun]:
        """Return the starts that have no end yet, oldest first."""
        return running.read(self._connection)

    def mark_lost(self, ends: Mapping[str, int]) -> int:
        """End running runs whose process is gone, and return how many were still running.

        ``ends`` says when each did. A hook or tool run gets the outcome lost. A server never writes
        an end, so it gets ok: how it ended nobody saw. The duration is wall time, at least 0.
        """
        runs = [_unseen_end(run, ends[run.run]) for run in self.running() if run.run in ends]
        with self._transaction():
            self._store_runs(runs)
        return len(runs)

    def expire(
        self, detailed_before_ns: int, aggregated_before_ns: int = 0, limit: int = 5000
    ) -> int:
        """Delete at most about ``limit`` old rows and return how many; 0 when none is left.

        Single rows go when they are older than ``detailed_before_ns``, hours added up when older
        than ``aggregated_before_ns``. Freed pages are used again; the file does not shrink.
        """
        with self._transaction():
            deleted = expire(self._connection, detailed_before_ns, aggregated_before_ns, limit)
        if deleted:
            self._forget()
        return deleted

    def close(self) -> None:
        """Close the connection; the last one out writes the log back into the database."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._texts.trim()
            self._sessions.trim()
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if isinstance(error, sqlite3.Error | OverflowError | UnicodeError):
                raise explained(error, self._path()) from error
            raise

    def _roll_back(self) -> None:
        # SQLite rolls back by itself on some errors, a full disk among them.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._forget()

    def _forget(self) -> None:
        self._texts.forget()
        self._sessions.forget()

    def _path(self) -> Path:
        return Path(self._connection.execute("PRAGMA database_list").fetchone()[2])

    def _store_runs(self, runs: Sequence[Run]) -> int:
        rows = [run_row(run, self._texts, self._sessions) for run in runs]
        if not rows:
            return 0
        self._connection.execute("SAVEPOINT runs")
        cursor = self._connection.executemany(_INSERT_RUN, rows)
        if cursor.rowcount != len(rows):
            # Rare: some are known. Only the new ones may be added up, so look at each.
            self._connection.execute("ROLLBACK TO runs")
            # All that is taken back before any is stored: an hour made again holds no new row yet.
            for row in rows:
                self._take_back(row)
            rows = [row for row in rows if self._connection.execute(_INSERT_RUN, row).rowcount]
        self._connection.execute("RELEASE runs")
        rollup.add_runs(self._connection, rows)
        self._sessions.count_runs(rows, self._texts)
        self._connection.executemany(
            "DELETE FROM running WHERE run = ?", [(signed_run(run.run),) for run in runs]
        )
        return len(rows)

    def _take_back(self, row: RunRow) -> None:
        """Remove the run of ``row`` if it was thought lost and has ended after all."""
        old = self._connection.execute(_FIND_RUN, row[: RUN + 1]).fetchone()
        if old is None or old[OUTCOME] != _LOST or row[OUTCOME] == _LOST:
            return
        self._connection.execute(
            "DELETE FROM runs WHERE (hook, start_ns, run) = (?, ?, ?)", row[: RUN + 1]
        )
        rollup.rebuild(self._connection, old)
        self._sessions.count_runs([old], self._texts, sign=-1)

    def _store_starts(self, starts: Sequence[RunStart], ends: Sequence[Run]) -> int:
        ended = {run.run for run in ends}
        rows = [
            start_row(start, self._texts, self._sessions)
            for start in starts
            if start.run not in ended
        ]
        # Its end may have come first, through the other folder.
        rows = [row for row in rows if not self._has_ended(row)]
        places = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
        return self._connection.executemany(
            f"INSERT OR IGNORE INTO running VALUES ({places})", rows
        ).rowcount

    def _has_ended(self, row: Row) -> bool:
        run, hook, start_ns = row[:3]
        return self._connection.execute(_FIND_RUN, (hook, start_ns, run)).fetchone() is not None

    def _store_others(self, records: Sequence[Record]) -> int:
        by_kind: dict[type, list[Record]] = {}
        for record in records:
            if type(record) in TABLES:
                by_kind.setdefault(type(record), []).append(record)
        stored = 0
        for kind, group in by_kind.items():
            insert, make_row = TABLES[kind]
            rows = [fitting(make_row(each, self._texts, self._sessions)) for each in group]
            places = ", ".join("?" * len(rows[0]))
            stored += self._connection.executemany(f"{insert} VALUES ({places})", rows).rowcount
        self._sessions.add_samples([each for each in records if isinstance(each, SessionSample)])
        return stored

    def _store_marks(
        self,
        marks: Sequence[SpoolMark],
        gone: Sequence[SpoolMark],
        imports: Sequence[ImportMark],
    ) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO spool_offsets VALUES (?, ?, ?, ?)",
            [(mark.folder, mark.file, mark.inode, mark.offset) for mark in marks],
        )
        self._connection.executemany(
            "DELETE FROM spool_offsets WHERE (folder, file, inode) = (?, ?, ?)",
            [(mark.folder, mark.file, mark.inode) for mark in gone],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO imports VALUES (?, ?, ?, ?, ?, ?)",
            [msgspec.structs.astuple(mark) for mark in imports],
        )

    def _store_rejects(self, rejects: Sequence[Reject]) -> None:
        # One row for all of a kind in a file: a file of rubbish must not fill the store.
        groups: dict[tuple[str, str], list[Reject]] = {}
        for reject in rejects:
            groups.setdefault((reject.reason, reject.file), []).append(reject)
        now_ns = self._clock.wall_ns()
        self._connection.executemany(
            "INSERT INTO quarantine (time_ns, reason, file, offset_bytes, length_bytes, pieces)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (now_ns, *key, group[0].offset, sum(each.length for each in group), len(group))
                for key, group in groups.items()
            ],
        )

    def _store_progress(self, starts: Sequence[RunStart], runs: Sequence[Run]) -> None:
        now_ns = self._clock.wall_ns()
        self._connection.execute("UPDATE progress SET commit_ns = ?", (now_ns,))
        if starts or runs:
            newest = max(
                max((start.start_ns for start in starts), default=0),
                max((run.start_ns + run.wall_ns for run in runs), default=0),
            )
            self._connection.execute("UPDATE progress SET lag_ns = ?", (max(0, now_ns - newest),))


def _prepare(connection: sqlite3.Connection) -> None:
    check_ours(connection)  # before the first change: another program's file stays as it is
    connection.execute("PRAGMA journal_mode = WAL")
    # A power cut may cost the last commits, as it may cost the spool's records; nothing corrupts.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    migrate(connection)


def _unseen_end(run: RunningRun, end_ns: int) -> Run:
    return Run(
        run=run.run,
        start_ns=run.start_ns,
        wall_ns=max(0, end_ns - run.start_ns),
        mode=run.mode,
        key=run.key,
        outcome=Outcome.OK if run.mode is Mode.SERVER else Outcome.LOST,
        command=run.command,
        claude_pid=run.claude_pid,
        session=run.session,
        project=run.project,
        event=run.event,
        tool=run.tool,
    )
