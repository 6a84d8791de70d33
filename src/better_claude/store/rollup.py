"""Add runs up by hour, hook and event in the transaction that stores them."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from better_claude.sketch import Sketch
from better_claude.store.codes import RUN_OUTCOMES

HOUR_NS = 3_600_000_000_000
LARGEST = (1 << 63) - 1

# A row of runs in the order of its table, see schema.sql.
RunRow = tuple[Any, ...]
HOOK, START_NS, RUN, WALL_NS, OUTCOME, EVENT, SESSION, BREACH, ANON, USER_NS, SYS_NS = range(11)
STDIN, OVERHEAD_NS = 11, 16

_COLUMNS = (
    *("hour", "hook", "event", "runs", *RUN_OUTCOMES, "breaches_time", "breaches_memory"),
    *("last_start_ns", "wall_sum_ns", "wall_max_ns", "anon_max_bytes", "cpu_sum_ns"),
    *("stdin_bytes", "stdout_bytes", "stderr_bytes", "disk_read_bytes", "disk_write_bytes"),
    *("wall_sketch", "overhead_sketch"),
)
_KEY = 3
_MAXIMA = {_COLUMNS.index(name) for name in ("last_start_ns", "wall_max_ns", "anon_max_bytes")}
_WALL_SKETCH = _COLUMNS.index("wall_sketch")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM run_hours WHERE (hour, hook, event) = (?, ?, ?)"
_REPLACE = (
    f"INSERT OR REPLACE INTO run_hours ({', '.join(_COLUMNS)}) "
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
Key = tuple[int, int, int]


def add_runs(connection: sqlite3.Connection, rows: Iterable[RunRow]) -> None:
    """Add rows that are newly in ``runs`` to the hours they began in."""
    groups: dict[Key, list[RunRow]] = {}
    for row in rows:
        groups.setdefault(_key(row), []).append(row)
    for key, group in groups.items():
        _add_group(connection, key, group)


def rebuild(connection: sqlite3.Connection, row: RunRow) -> None:
    """Make the hour that ``row`` belongs to again from the rows that are in ``runs`` now."""
    hour, hook, event = _key(row)
    connection.execute("DELETE FROM run_hours WHERE (hour, hook, event) = (?, ?, ?)", _key(row))
    bounds = (hook, hour * HOUR_NS, (hour + 1) * HOUR_NS, event)
    found = connection.execute(
        "SELECT * FROM runs WHERE hook = ? AND start_ns >= ? AND start_ns < ? AND event = ?",
        bounds,
    ).fetchall()
    add_runs(connection, found)


def _key(row: RunRow) -> Key:
    return row[START_NS] // HOUR_NS, row[HOOK], row[EVENT]


def _add_group(connection: sqlite3.Connection, key: Key, group: Sequence[RunRow]) -> None:
    old = connection.execute(_SELECT, key).fetchone()
    columns = list(zip(*group, strict=True))
    new = [*key, *_numbers(columns)]
    if old is not None:
        for index in range(_KEY, _WALL_SKETCH):
            pair = old[index], new[index]
            new[index] = max(pair) if index in _MAXIMA else min(sum(pair), LARGEST)
    sketches = []
    for index, column in enumerate((columns[WALL_NS], columns[OVERHEAD_NS])):
        sketch = Sketch()
        sketch.add(column)
        if old is not None:
            sketch.merge(old[_WALL_SKETCH + index])
        sketches.append(sketch.to_bytes())
    connection.execute(_REPLACE, (*new, *sketches))


def _numbers(columns: Sequence[tuple[int, ...]]) -> list[int]:
    """Return a group's counts, sums and maxima in the order of ``_COLUMNS``."""
    outcomes, breaches = columns[OUTCOME], columns[BREACH]
    return [
        len(outcomes),
        *(outcomes.count(code) for code in range(len(RUN_OUTCOMES))),
        breaches.count(1),
        breaches.count(2),
        max(columns[START_NS]),
        sum(columns[WALL_NS]),
        max(columns[WALL_NS]),
        max(columns[ANON]),
        sum(columns[USER_NS]) + sum(columns[SYS_NS]),
        *(sum(columns[index]) for index in range(STDIN, OVERHEAD_NS)),
    ]
