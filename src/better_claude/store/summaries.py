"""Answer how the runs of each hook went."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from better_claude.model import Source
from better_claude.sketch import Sketch, exact_quantiles
from better_claude.store.codes import FAILURE_CODES, OUTCOMES, RUN_OUTCOMES
from better_claude.store.rollup import HOUR_NS
from better_claude.store.selection import END_OF_TIME_NS, Hook, Selection, select
from better_claude.store.views import HookSummary, Percentiles, RunFilter

# Up to here every value is looked at: some 10 ms. Beyond, hours that were added up answer.
EXACT_RUNS = 10_000
_SHARES = (0.5, 0.95, 0.99)

_ROWS = (
    "SELECT event, outcome, breach, start_ns, wall_ns, anon_peak_bytes, user_ns + sys_ns,"
    " stdin_bytes, stdout_bytes, stderr_bytes, disk_read_bytes, disk_write_bytes, overhead_ns"
    " FROM runs WHERE hook = ? AND "
)
# total(), not sum(): a sum past 64 bits is an error in SQL, and one bad row must not cost the rest.
_HOURS = (
    f"SELECT hook, event, {', '.join(f'sum({outcome})' for outcome in RUN_OUTCOMES)},"
    " sum(breaches_time), sum(breaches_memory),"
    " max(last_start_ns), max(wall_max_ns), max(anon_max_bytes),"
    " total(wall_sum_ns), total(cpu_sum_ns), total(stdin_bytes), total(stdout_bytes),"
    " total(stderr_bytes), total(disk_read_bytes), total(disk_write_bytes)"
    " FROM run_hours WHERE {} GROUP BY hook, event"
)
_SKETCHES = "SELECT hook, event, wall_sketch, overhead_sketch FROM run_hours WHERE "
_HISTORY = "SELECT event, outcome, time_ns, duration_ms FROM history_runs WHERE hook = ? AND "


class _Totals:
    """What is known of one hook at one event so far."""

    def __init__(self) -> None:
        self.outcomes = [0] * len(OUTCOMES)
        self.breaches = [0, 0]
        self.maxima = [0, 0, 0]  # last_start_ns, wall_ns, anon_bytes
        self.sums = [0] * 7  # wall, cpu, stdin, stdout, stderr, disk read, disk write
        self.walls: list[int] = []
        self.overheads: list[int] = []
        self.sketches: tuple[Sketch, Sketch] | None = None

    def add_rows(self, rows: Sequence[tuple[int, ...]]) -> None:
        _, outcomes, breaches, starts, walls, anon, cpu, *sums, overheads = zip(*rows, strict=True)
        self._add_outcomes([outcomes.count(code) for code in range(len(OUTCOMES))])
        self.breaches = [self.breaches[0] + breaches.count(1), self.breaches[1] + breaches.count(2)]
        self._add_maxima((max(starts), max(walls), max(anon)))
        self._add_sums([sum(walls), sum(cpu), *map(sum, sums)])
        self.walls += walls
        self.overheads += overheads

    def add_hours(self, row: Sequence[Any], walls: bytes, overheads: bytes) -> None:
        outcomes = len(RUN_OUTCOMES)
        self._add_outcomes([*row[2 : 2 + outcomes], 0])
        time, memory, *rest = row[2 + outcomes :]
        self.breaches = [self.breaches[0] + time, self.breaches[1] + memory]
        self._add_maxima(rest[:3])
        self._add_sums([int(number) for number in rest[3:]])
        self.sketches = (Sketch(), Sketch())
        self.sketches[0].merge(walls)
        self.sketches[1].merge(overheads)

    def add_history(self, rows: Sequence[tuple[int, ...]]) -> None:
        _, outcomes, times, durations = zip(*rows, strict=True)
        told = [duration * 1_000_000 for duration in durations if duration >= 0]
        self._add_outcomes([outcomes.count(code) for code in range(len(OUTCOMES))])
        self._add_maxima((max(times), max(told, default=0), 0))
        self.sums[0] += sum(told)
        self.walls += told

    def summary(self, hook: Hook, event: str, source: Source) -> HookSummary:
        runs = sum(self.outcomes)
        wall_sum, cpu_sum, stdin, stdout, stderr, disk_read, disk_write = self.sums
        walls, overheads = self._quantiles()
        return HookSummary(
            key=hook.key,
            name=hook.name,
            command=hook.command,
            mode=hook.mode,
            event=event,
            source=source,
            runs=runs,
            failures=sum(self.outcomes[code] for code in FAILURE_CODES),
            outcomes={
                word.value: count
                for word, count in zip(OUTCOMES, self.outcomes, strict=True)
                if count
            },
            wall_ns=Percentiles(walls[0], walls[1], walls[2], self.maxima[1]),
            wait_ns=wall_sum,
            last_start_ns=self.maxima[0],
            exact=self.sketches is None,
            breaches_time=self.breaches[0],
            breaches_memory=self.breaches[1],
            anon_peak_bytes=self.maxima[2],
            cpu_mean_ns=cpu_sum // runs if runs else 0,
            stdin_bytes=stdin,
            stdout_bytes=stdout,
            stderr_bytes=stderr,
            disk_read_bytes=disk_read,
            disk_write_bytes=disk_write,
            overhead_median_ns=overheads[0],
        )

    def _quantiles(self) -> tuple[list[int], list[int]]:
        if self.sketches is None:
            return exact_quantiles(self.walls, *_SHARES), exact_quantiles(self.overheads, 0.5)
        walls, overheads = self.sketches
        walls.add(self.walls)
        overheads.add(self.overheads)
        # A sketch may overshoot by 1%, but nothing was slower than the slowest.
        found = [min(wall, self.maxima[1]) for wall in walls.quantiles(*_SHARES)]
        return found, overheads.quantiles(0.5)

    def _add_outcomes(self, counts: Sequence[int]) -> None:
        self.outcomes = [sum(pair) for pair in zip(self.outcomes, counts, strict=True)]

    def _add_maxima(self, values: Sequence[int]) -> None:
        self.maxima = [max(pair) for pair in zip(self.maxima, values, strict=True)]

    def _add_sums(self, values: Sequence[int]) -> None:
        self.sums = [sum(pair) for pair in zip(self.sums, values, strict=True)]


_Found = dict[tuple[int, int], _Totals]


def hook_summaries(connection: sqlite3.Connection, wanted: RunFilter) -> list[HookSummary]:
    """Return a summary for each hook and event with runs, most waited for first.

    Percentiles are exact up to 10,000 runs, or where a session or an outcome is asked for. Else
    whole hours come from sketches, and only the hours that ``wanted`` cuts from single rows.
    """
    selection = select(connection, wanted)
    found: _Found = {}
    if wanted.source is Source.TRANSCRIPT:
        _add_history(connection, selection, found)
    elif selection.needs_rows:
        _add_rows(connection, selection, selection.since_ns, selection.until_ns, found)
    else:
        _add_best(connection, selection, found)
    events = dict(connection.execute("SELECT id, text FROM names"))
    summaries = [
        totals.summary(selection.hooks[hook], events.get(event, ""), wanted.source)
        for (hook, event), totals in found.items()
    ]
    return sorted(summaries, key=lambda each: (-each.wait_ns, each.name, each.event))


def _add_best(connection: sqlite3.Connection, selection: Selection, found: _Found) -> None:
    expired_ns = connection.execute("SELECT expired_ns FROM progress").fetchone()[0]
    since_ns, until_ns = selection.since_ns, selection.until_ns
    if since_ns < expired_ns:
        since_ns -= since_ns % HOUR_NS  # single rows are gone: begin with a whole hour
    elif _count(connection, selection) <= EXACT_RUNS:
        _add_rows(connection, selection, since_ns, until_ns, found)
        return
    first, last = -(-since_ns // HOUR_NS), until_ns // HOUR_NS
    if first > last:
        _add_rows(connection, selection, since_ns, until_ns, found)
        return
    _add_rows(connection, selection, since_ns, first * HOUR_NS, found)
    _add_hours(connection, selection, first, last, found)
    if until_ns != END_OF_TIME_NS:
        _add_rows(connection, selection, last * HOUR_NS, until_ns, found)


def _count(connection: sqlite3.Connection, selection: Selection) -> int:
    """Return how many runs there are at most."""
    sql, values = _hours_where(
        selection, selection.since_ns // HOUR_NS, selection.until_ns // HOUR_NS + 1
    )
    row = connection.execute(f"SELECT sum(runs) FROM run_hours WHERE {sql}", values).fetchone()
    return int(row[0] or 0)


def _hours_where(selection: Selection, first: int, last: int) -> tuple[str, list[int]]:
    sql, values = "hour >= ? AND hour < ?", [first, last]
    if selection.event is not None:
        sql, values = f"{sql} AND event = ?", [*values, selection.event]
    if not selection.all_hooks:
        # Numbers of our own making: no need for a place each, of which there is a limit.
        sql = f"{sql} AND hook IN ({', '.join(map(str, selection.hooks))})"
    return sql, values


def _add_hours(
    connection: sqlite3.Connection, selection: Selection, first: int, last: int, found: _Found
) -> None:
    sql, values = _hours_where(selection, first, last)
    sketches: dict[tuple[int, int], tuple[list[bytes], list[bytes]]] = {}
    for hook, event, wall, overhead in connection.execute(_SKETCHES + sql, values):
        walls, overheads = sketches.setdefault((hook, event), ([], []))
        walls.append(wall)
        overheads.append(overhead)
    for row in connection.execute(_HOURS.format(sql), values):
        walls, overheads = sketches[row[0], row[1]]
        totals = found.setdefault((row[0], row[1]), _Totals())
        totals.add_hours(row, b"".join(walls), b"".join(overheads))


def _add_rows(
    connection: sqlite3.Connection,
    selection: Selection,
    since_ns: int,
    until_ns: int,
    found: _Found,
) -> None:
    if since_ns >= until_ns:
        return
    sql, values = selection.conditions("start_ns")
    values[:2] = since_ns, until_ns
    for hook in selection.hooks:
        rows = connection.execute(_ROWS + sql, [hook, *values]).fetchall()
        for event, group in _by_event(rows).items():
            found.setdefault((hook, event), _Totals()).add_rows(group)


def _add_history(connection: sqlite3.Connection, selection: Selection, found: _Found) -> None:
    sql, values = selection.conditions("time_ns")
    for hook in selection.hooks:
        rows = connection.execute(_HISTORY + sql, [hook, *values]).fetchall()
        for event, group in _by_event(rows).items():
            found.setdefault((hook, event), _Totals()).add_history(group)


def _by_event(rows: Sequence[tuple[int, ...]]) -> dict[int, list[tuple[int, ...]]]:
    groups: dict[int, list[tuple[int, ...]]] = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    return groups
