"""Answer what limits would have done to the runs that are known."""

import sqlite3
from typing import Protocol

from better_claude.contract.tree import Limits
from better_claude.model import Mode, Outcome, Source
from better_claude.store.codes import OUTCOME_CODE
from better_claude.store.summaries import hook_summaries
from better_claude.store.views import HookSummary, RunFilter, StopForecast

_COUNT_RUNS = """
SELECT sum(wall_ns > :timeout_ms * 1000000), sum(anon_peak_bytes > :memory_bytes)
FROM runs WHERE hook = :hook AND start_ns >= :since_ns AND event = :event
"""
# A run that the client itself stopped later than we would have is one of ours as well, even if
# the transcript does not tell how long it took.
_COUNT_HISTORY = f"""
SELECT sum(duration_ms > :timeout_ms OR (
           outcome = {OUTCOME_CODE[Outcome.TIMEOUT]} AND history_runs.timeout_ms > :timeout_ms
       )), 0
FROM history_runs WHERE hook = :hook AND time_ns >= :since_ns AND event = :event
"""


class LimitsOf(Protocol):
    """What holds for a hook at an event, as ``Contract.hook_limits`` says."""

    def __call__(self, event: str, key: str, name: str, command: str) -> Limits:
        """Return the limits."""


def would_have_stopped(
    connection: sqlite3.Connection, limits_of: LimitsOf, since_ns: int
) -> list[StopForecast]:
    """Return one row for each hook, event and source, most stopped first."""
    forecasts = []
    for source, sql in ((Source.LAUNCHER, _COUNT_RUNS), (Source.TRANSCRIPT, _COUNT_HISTORY)):
        wanted = RunFilter(since_ns=since_ns, mode=Mode.HOOK, source=source)
        for summary in hook_summaries(connection, wanted):
            forecasts.append(_forecast(connection, sql, summary, limits_of, since_ns))
    return sorted(forecasts, key=lambda each: (-each.over_time - each.over_memory, -each.runs))


def _forecast(
    connection: sqlite3.Connection,
    sql: str,
    summary: HookSummary,
    limits_of: LimitsOf,
    since_ns: int,
) -> StopForecast:
    limits = limits_of(summary.event, summary.key, summary.name, summary.command)
    over_time, over_memory = connection.execute(
        sql,
        {
            "timeout_ms": limits.timeout_ms,
            "memory_bytes": limits.memory_bytes,
            "hook": _hook_id(connection, summary.key),
            "event": _name_id(connection, summary.event),
            "since_ns": since_ns,
        },
    ).fetchone()
    return StopForecast(
        key=summary.key,
        name=summary.name,
        command=summary.command,
        event=summary.event,
        source=summary.source,
        runs=summary.runs,
        over_time=over_time or 0,
        over_memory=over_memory or 0,
        timeout_ms=limits.timeout_ms,
        memory_bytes=limits.memory_bytes,
        enforcement=limits.enforcement,
        wall_ns=summary.wall_ns,
        anon_peak_bytes=summary.anon_peak_bytes,
    )


def _hook_id(connection: sqlite3.Connection, key: str) -> int:
    row = connection.execute("SELECT id FROM hooks WHERE key = ? AND mode = 0", (key,)).fetchone()
    return int(row[0])


def _name_id(connection: sqlite3.Connection, text: str) -> int:
    row = connection.execute("SELECT id FROM names WHERE text = ?", (text,)).fetchone()
    return int(row[0]) if row else 0
