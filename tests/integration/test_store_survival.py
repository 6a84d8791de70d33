"""Kill the ingesting process at any moment, fill its disk: nothing is lost, nothing doubled."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.records import BEGIN_NS, HOUR_NS, make_run, make_start, spool_line, spool_name

from better_claude.collect.spool import SpoolReader
from better_claude.errors import StoreError
from better_claude.store.reader import open_reader
from better_claude.store.writer import Writer

KILLS = 100
TORN = b"\n{torn\n"


def ingest(folders: list[Path], store: Path, now_ns: int, limit: int = 5000) -> int:
    """Store what is in the spool and delete what is done with, as the service does."""
    stored = 0
    with Writer.open(store) as writer:
        reader = SpoolReader(folders, writer.spool_marks())
        more = True
        while more:
            batch = reader.read(now_ns, limit)
            if batch.marks:
                writer.commit(batch.records, batch.marks, batch.rejects)
                stored += len(batch.records)
            reader.accept(batch)
            gone = reader.sweep(now_ns)
            if gone:
                writer.commit((), gone=gone)
            more = batch.more
    return stored


def forked(work: Callable[[], object]) -> int:
    """Run ``work`` in a child, over and over, and return its process id."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                work()
        except BaseException:
            os._exit(1)
    return child


class Launchers:
    """Write records as launchers do: one append each, into either folder, some torn."""

    def __init__(self, folders: list[Path], seed: int) -> None:
        self.folders = folders
        self.rng = random.Random(seed)
        self.number = 0
        self.ended = 0
        self.torn = 0

    def write(self, runs: int) -> None:
        """Begin so many runs; nine in ten end, their lines in any folder and hour."""
        lines = []
        for _ in range(runs):
            self.number += 1
            lines.append(spool_line(make_start(self.number)))
            if self.rng.random() < 0.9:
                self.ended += 1
                lines.append(spool_line(make_run(self.number, session=f"s{self.number % 7}")))
            if self.rng.random() < 0.05:
                self.torn += 1
                lines.append(TORN)
        for line in lines:
            name = spool_name(BEGIN_NS + self.rng.randrange(3) * HOUR_NS)
            path = self.rng.choice(self.folders) / name
            with path.open("ab", buffering=0) as file:
                file.write(line)

    def age(self) -> None:
        """Make every file look long untouched, so that it may be deleted once read."""
        for folder in self.folders:
            for path in folder.iterdir():
                os.utime(path, ns=(BEGIN_NS, BEGIN_NS))


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "one", tmp_path / "two"]
    for folder in found:
        folder.mkdir(mode=0o700)
    return found


def one(store: Path, sql: str) -> Any:
    connection = sqlite3.connect(store)
    try:
        return connection.execute(sql).fetchone()[0]
    finally:
        connection.close()


def runs_seen(store: Path) -> int:
    """Count runs as a command does: whatever moment it is, readers can read."""
    with open_reader(store) as reader:
        return reader.status(0, BEGIN_NS).runs


def check(store: Path, launchers: Launchers) -> None:
    assert one(store, "PRAGMA integrity_check") == "ok"
    assert one(store, "SELECT count(*) FROM runs") == launchers.ended
    assert one(store, "SELECT count(DISTINCT run) FROM runs") == launchers.ended
    assert one(store, "SELECT count(*) FROM running") == launchers.number - launchers.ended
    assert one(store, "SELECT sum(runs) FROM run_hours") == launchers.ended
    assert one(store, "SELECT sum(hook_runs) FROM sessions") == launchers.ended
    assert one(store, "SELECT sum(pieces) FROM quarantine") == launchers.torn


def test_a_hundred_kills_lose_and_double_nothing(folders: list[Path], tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    launchers = Launchers(folders, seed=os.getpid())
    rng = random.Random(1)
    later_ns = BEGIN_NS + 9 * HOUR_NS
    partly = 0
    for _ in range(KILLS):
        # Nothing writes while files are old enough to go. But names come again, and with
        # them inodes, as after a clock that was set back.
        launchers.write(40)
        launchers.age()
        before = runs_seen(store)
        child = forked(lambda: ingest(folders, store, later_ns, limit=5))
        time.sleep(rng.random() * 0.04)
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL  # it had not failed by itself
        after = runs_seen(store)
        partly += before < after < launchers.ended
    for _ in range(3):  # read, put aside, delete
        ingest(folders, store, later_ns)
    check(store, launchers)
    assert partly > 3, "the kills hit nothing"
    assert not any(path for folder in folders for path in folder.iterdir())


def test_a_full_disk_is_told_and_nothing_is_half_stored(
    folders: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    launchers = Launchers(folders, seed=2)
    launchers.write(2000)
    with Writer.open(store) as writer:
        pages = one(store, "PRAGMA page_count")
        writer._connection.execute(f"PRAGMA max_page_count = {pages + 12}")
        reader = SpoolReader(folders)
        with pytest.raises(StoreError) as caught:
            while (batch := reader.read(BEGIN_NS, limit=300)).marks:
                writer.commit(batch.records, batch.marks, batch.rejects)
                reader.accept(batch)
        assert caught.value.slug == "store-full"
        stored = one(store, "SELECT count(*) FROM runs")
        assert 0 < stored < launchers.ended
        assert one(store, "SELECT sum(runs) FROM run_hours") == stored
        # There is room again: the same reader and writer go on.
        writer._connection.execute("PRAGMA max_page_count = 1000000")
        while (batch := reader.read(BEGIN_NS, limit=300)).marks:
            writer.commit(batch.records, batch.marks, batch.rejects)
            reader.accept(batch)
    check(store, launchers)


def test_readers_in_other_processes_read_while_it_writes(
    folders: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store.db"
    launchers = Launchers(folders, seed=3)
    launchers.write(50)
    ingest(folders, store, BEGIN_NS)
    script = (
        "import sys, pathlib\n"
        "from better_claude.store.reader import open_reader\n"
        "seen = 0\n"
        "while True:\n"
        "    with open_reader(pathlib.Path(sys.argv[1])) as reader:\n"
        "        status = reader.status(0, 1)\n"
        "    assert status.runs >= seen\n"
        "    seen = status.runs\n"
        "    if seen == int(sys.argv[2]):\n"
        "        print(seen)\n"
        "        break\n"
    )
    for _ in range(20):
        launchers.write(50)
    command = [sys.executable, "-c", script, str(store), str(launchers.ended)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ingest(folders, store, BEGIN_NS, limit=10)
    outputs = [reader.communicate(timeout=60)[0] for reader in readers]
    assert outputs == [f"{launchers.ended}\n"] * 2
    check(store, launchers)
