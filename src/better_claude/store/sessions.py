"""Keep one row a session: who it is, when it was seen, what its hooks cost."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from better_claude.model import ClientEvent, Mode, Record, Run, RunStart, SessionSample
from better_claude.store.codes import FAILURE_CODES
from better_claude.store.interning import CACHE_ENTRIES, Interner, storable
from better_claude.store.rollup import HOOK, OUTCOME, SESSION, WALL_NS, RunRow

# Where an event carries the client's version.
VERSION_ATTRIBUTE = "client_version"
# Where an imported session's one carries the folder that it was started in.
PROJECT_ATTRIBUTE = "project"

_COUNTERS = (
    "cpu_ns",
    "disk_read_bytes",
    "disk_write_bytes",
    "net_received_bytes",
    "net_sent_bytes",
)
_Fold = list[Any]


class Sessions:
    """The numbers of sessions, made as they are met; the empty session is always 0."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Empty the cache, as after a rollback."""
        self._numbers: dict[str, int] = {"": 0}

    def trim(self) -> None:
        """Empty the cache if it has grown out of bounds; call between transactions."""
        if len(self._numbers) > CACHE_ENTRIES:
            self.forget()

    def number(self, session: str, time_ns: int) -> int:
        """Return the number of a session that is first met at ``time_ns``."""
        number = self._numbers.get(session)
        if number is None:
            stored = storable(session)
            self._connection.execute(
                "INSERT OR IGNORE INTO sessions (session, first_ns, last_ns) VALUES (?, ?, ?)",
                (stored, time_ns, time_ns),
            )
            found = self._connection.execute(
                "SELECT id FROM sessions WHERE session = ?", (stored,)
            ).fetchone()
            number = self._numbers[session] = int(found[0])
        return number

    def see(self, records: Iterable[Record]) -> None:
        """Note when the sessions of these records were alive, and who they are."""
        seen: dict[str, _Seen] = {}
        for record in records:
            session = record.session
            if session:
                if session not in seen:
                    seen[session] = _Seen()
                seen[session].add(record)
        self._connection.executemany(
            "UPDATE sessions SET first_ns = min(first_ns, ?), last_ns = max(last_ns, ?),"
            " project = coalesce(nullif(?, ''), project),"
            " claude_pid = coalesce(nullif(?, 0), claude_pid),"
            " client_version = coalesce(nullif(?, ''), client_version) WHERE id = ?",
            [(*each.row(), self.number(session, each.first_ns)) for session, each in seen.items()],
        )

    def count_runs(self, rows: Iterable[RunRow], texts: Interner, sign: int = 1) -> None:
        """Add runs that are newly stored to their sessions; ``sign`` -1 takes them off again."""
        totals: dict[int, list[int]] = {}
        for row in rows:
            if texts.hook_modes[row[HOOK]] is Mode.HOOK and row[SESSION]:
                total = totals.setdefault(row[SESSION], [0, 0, 0])
                total[0] += sign
                total[1] += sign * row[WALL_NS]
                total[2] += sign * (row[OUTCOME] in FAILURE_CODES)
        self._connection.executemany(
            "UPDATE sessions SET hook_runs = hook_runs + ?, hook_wait_ns = hook_wait_ns + ?,"
            " hook_failures = hook_failures + ? WHERE id = ?",
            [(*total, session) for session, total in totals.items()],
        )

    def add_samples(self, samples: Sequence[SessionSample]) -> None:
        """Fold samples that are newer than the known ones into their process trees' totals."""
        folds: dict[tuple[int, int], _Fold | None] = {}
        for sample in sorted(samples, key=lambda sample: sample.time_ns):
            key = self.number(sample.session, sample.time_ns), sample.claude_pid
            if key not in folds:
                folds[key] = self._stored_fold(key)
            folds[key] = _folded(folds[key], key, sample)
        rows = [fold for fold in folds.values() if fold]
        places = ", ".join("?" * (6 + 2 * len(_COUNTERS)))
        self._connection.executemany(
            f"INSERT OR REPLACE INTO session_processes VALUES ({places})", rows
        )

    def _stored_fold(self, key: tuple[int, int]) -> _Fold | None:
        row = self._connection.execute(
            "SELECT * FROM session_processes WHERE (session, claude_pid) = (?, ?)", key
        ).fetchone()
        return list(row) if row else None


class _Seen:
    """What the records of one batch say of one session."""

    def __init__(self) -> None:
        self.first_ns = 1 << 62
        self.last_ns = 0
        self.project = ""
        self.claude_pid = 0
        self.version = ""

    def add(self, record: Record) -> None:
        if isinstance(record, Run):
            first_ns, last_ns = record.start_ns, record.start_ns + record.wall_ns
        elif isinstance(record, RunStart):
            first_ns = last_ns = record.start_ns
        else:
            first_ns = last_ns = record.time_ns
        self.first_ns = min(self.first_ns, first_ns)
        self.last_ns = max(self.last_ns, last_ns)
        self.project = getattr(record, "project", "") or self.project
        self.claude_pid = getattr(record, "claude_pid", 0) or self.claude_pid
        if isinstance(record, ClientEvent):
            self.version = str(record.attributes.get(VERSION_ATTRIBUTE, "")) or self.version
            self.project = str(record.attributes.get(PROJECT_ATTRIBUTE, "")) or self.project

    def row(self) -> tuple[int, int, str, int, str]:
        return (
            self.first_ns,
            self.last_ns,
            storable(self.project),
            self.claude_pid,
            storable(self.version),
        )


def _folded(fold: _Fold | None, key: tuple[int, int], sample: SessionSample) -> _Fold:
    """Return the totals with one more sample.

    Layout: session, claude_pid, last_ns, three peaks, then base and last of each counter.
    """
    if fold is None:
        fold = [*key, 0, 0, 0, 0, *(0, -1) * len(_COUNTERS)]
    if sample.time_ns <= fold[2]:
        return fold
    peaks = (sample.processes, sample.anon_bytes, sample.rss_bytes)
    folded = [*key, sample.time_ns, *map(max, fold[3:6], peaks)]
    for index, name in enumerate(_COUNTERS):
        base, last = fold[6 + 2 * index : 8 + 2 * index]
        now = getattr(sample, name)
        if now < 0:  # the kernel did not tell this time
            folded += (base, last)
        else:
            # A counter that went back began again from zero.
            folded += (base + max(last, 0) if now < last else base, now)
    return folded
