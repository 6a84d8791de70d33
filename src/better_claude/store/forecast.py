"""Answer what limits would have done to the runs that are known."""

import sqlite3
from typing import Protocol

from better_claude.contract.tree import Limits
from better_claude.model import Mode, Outcome, Source
from better_claude.store.codes import MODE_CODE, OUTCOME_CODE
from better_claude.store.rollup import HOUR_NS
from better_claude.store.selection import UNMEASURED
from better_claude.store.summaries import hook_summaries
from better_claude.store.views import HookSummary, RunFilter, StopForecast

# Only hours whose worst run is past a limit are looked into: for honest hooks, none.
_COUNT_RUNS = f"""
SELECT sum(wall_ns > :timeout_ms * 1000000), sum(anon_peak_bytes > :memory_bytes)
FROM run_hours CROSS JOIN runs
WHERE run_hours.hour >= :since_ns / {HOUR_NS}
  AND run_hours.hook = :hook AND run_hours.event = :event
  AND (wall_max_ns > :timeout_ms * 1000000 OR anon_max_bytes > :memory_bytes)
  AND runs.hook = :hook AND runs.event = :event
  AND runs.start_ns >= max(:since_ns, run_hours.hour * {HOUR_NS})
  AND runs.start_ns < (run_hours.hour + 1) * {HOUR_NS}
"""
# A run that the client itself stopped later than we would have is one of ours as well, even if
# the transcript does not tell how long it took.
_COUNT_HISTORY = f"""
SELECT sum(duration_ms > :timeout_ms OR (
           outcome = {OUTCOME_CODE[Outcome.TIMEOUT]} AND history_runs.timeout_ms > :timeout_ms
       )), 0
FROM history_runs WHERE hook = :hook AND time_ns >= :since_ns AND event = :event
  AND {UNMEASURED}
"""
_HOOK = f"SELECT id FROM hooks WHERE key = ? AND mode = {MODE_CODE[Mode.HOOK]}"
_EVENT = "SELECT id FROM names WHERE text = ?"


class LimitsOf(Protocol):
    """What holds for a hook at an event, as ``Contract.hook_limits`` says."""

    def __call__(self, event: str, key: str, name: str, command: str) -> Limits:
        """Return the limits."""


def would_have_stopped(
    connection: sqlite3.Connection, limits_of: LimitsOf, since_ns: int
) -> list[StopForecast]:
    """Return one row for each hook, event and source, most stopped first.

    A session whose hooks the launcher recorded counts once: its transcript tells the same runs.
    """
    forecasts = []
    for source in (Source.LAUNCHER, Source.TRANSCRIPT):
        is_told = source is Source.TRANSCRIPT
        wanted = RunFilter(since_ns=since_ns, mode=Mode.HOOK, source=source, unmeasured=is_told)
        for summary in hook_summaries(connection, wanted):
            limits = limits_of(summary.event, summary.key, summary.name, summary.command)
            over_time, over_memory = _over(connection, summary, limits, since_ns)
            forecasts.append(_forecast(summary, limits, over_time, over_memory))
    return sorted(forecasts, key=lambda each: (-each.over_time - each.over_memory, -each.runs))


def _over(
    connection: sqlite3.Connection, summary: HookSummary, limits: Limits, since_ns: int
) -> tuple[int, int]:
    """Count the runs past the time limit, and those past the memory limit."""
    if summary.source is Source.LAUNCHER and not (
        summary.wall_ns.maximum > limits.timeout_ms * 1_000_000
        or summary.anon_peak_bytes > limits.memory_bytes
    ):
        return 0, 0
    over_time, over_memory = connection.execute(
        _COUNT_RUNS if summary.source is Source.LAUNCHER else _COUNT_HISTORY,
        {
            "timeout_ms": limits.timeout_ms,
            "memory_bytes": limits.memory_bytes,
            "hook": _number(connection, _HOOK, summary.key),
            "event": _number(connection, _EVENT, summary.event),
            "since_ns": since_ns,
        },
    ).fetchone()
    return over_time or 0, over_memory or 0


def _number(connection: sqlite3.Connection, sql: str, text: str) -> int:
    row = connection.execute(sql, (text,)).fetchone()
    return int(row[0]) if row else 0  # the empty text is 0


def _forecast(
    summary: HookSummary, limits: Limits, over_time: int, over_memory: int
) -> StopForecast:
    return StopForecast(
        key=summary.key,
        name=summary.name,
        command=summary.command,
        event=summary.event,
        source=summary.source,
        runs=summary.runs,
        over_time=over_time,
        over_memory=over_memory,
        timeout_ms=limits.timeout_ms,
        memory_bytes=limits.memory_bytes,
        enforcement=limits.enforcement,
        wall_ns=summary.wall_ns,
        anon_peak_bytes=summary.anon_peak_bytes,
    )
