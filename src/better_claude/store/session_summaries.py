"""Answer what each session cost: hooks, tools, API calls and resources."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from better_claude.model import Source
from better_claude.sketch import exact_quantiles
from better_claude.store.codes import SOURCE_CODE
from better_claude.store.selection import END_OF_TIME_NS
from better_claude.store.views import CallSummary, RunFilter, SessionSummary

# A transcript's call this close to what telemetry covers is the same one.
_SLACK_NS = 10_000_000_000
_TELEMETRY = SOURCE_CODE[Source.TELEMETRY]

_SESSIONS = """
SELECT id, session, project, claude_pid, client_version, first_ns, last_ns,
       hook_runs, hook_wait_ns, hook_failures
FROM sessions
WHERE last_ns >= ? AND first_ns < ? AND substr(session, 1, ?) = ?
ORDER BY last_ns DESC LIMIT ?
"""
_RESOURCES = """
SELECT max(processes_peak), max(anon_peak_bytes), max(rss_peak_bytes),
       sum(cpu_base_ns + cpu_last_ns) FILTER (WHERE cpu_last_ns >= 0),
       sum(disk_read_base_bytes + disk_read_last_bytes)
           FILTER (WHERE disk_read_last_bytes >= 0),
       sum(disk_write_base_bytes + disk_write_last_bytes)
           FILTER (WHERE disk_write_last_bytes >= 0),
       sum(net_received_base_bytes + net_received_last_bytes)
           FILTER (WHERE net_received_last_bytes >= 0),
       sum(net_sent_base_bytes + net_sent_last_bytes)
           FILTER (WHERE net_sent_last_bytes >= 0)
FROM session_processes WHERE session = ?
"""
_HISTORY = """
SELECT count(*) FROM hooks
CROSS JOIN history_runs ON history_runs.hook = hooks.id AND history_runs.session = ?
"""


def sessions(connection: sqlite3.Connection, wanted: RunFilter, limit: int) -> list[SessionSummary]:
    """Return at most ``limit`` sessions that were alive in the period, last seen first."""
    until_ns = wanted.until_ns or END_OF_TIME_NS
    prefix = wanted.session
    rows = connection.execute(
        _SESSIONS, (wanted.since_ns, until_ns, len(prefix), prefix, limit)
    ).fetchall()
    return [_summary(connection, row) for row in rows]


def _summary(connection: sqlite3.Connection, row: tuple[Any, ...]) -> SessionSummary:
    number, session, project, claude_pid, version, first_ns, last_ns, runs, wait_ns, failures = row
    api = _api_calls(connection, number)
    input_tokens, output_tokens, cache_read, cache_creation = (
        sum(call[index] for call in api) for index in range(4, 8)
    )
    processes, anon, rss, *totals = connection.execute(_RESOURCES, (number,)).fetchone()
    cpu, disk_read, disk_write, received, sent = (-1 if n is None else n for n in totals)
    return SessionSummary(
        session=session,
        project=project,
        claude_pid=claude_pid,
        client_version=version,
        first_ns=first_ns,
        last_ns=last_ns,
        running=_number(connection, "SELECT count(*) FROM running WHERE session = ?", number),
        hook_runs=runs,
        hook_wait_ns=wait_ns,
        hook_failures=failures,
        history_runs=_number(connection, _HISTORY, number),
        tools=_calls(_tool_calls(connection, number)),
        api=_calls([call[1:3] for call in api]),
        ttft_p95_ms=exact_quantiles([call[3] for call in api if call[3] > 0], 0.95)[0],
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read,
        cache_creation_tokens=cache_creation,
        cost_usd=sum(call[8] for call in api),
        compactions=_compactions(connection, number),
        processes_peak=processes or 0,
        anon_peak_bytes=anon or 0,
        rss_peak_bytes=rss or 0,
        cpu_ns=cpu,
        disk_read_bytes=disk_read,
        disk_write_bytes=disk_write,
        net_received_bytes=received,
        net_sent_bytes=sent,
    )


def _number(connection: sqlite3.Connection, sql: str, session: int) -> int:
    return int(connection.execute(sql, (session,)).fetchone()[0] or 0)


def _calls(calls: Sequence[tuple[int, int]]) -> CallSummary:
    """Sum up pairs of duration and success; a duration of 0 was not told."""
    durations = [duration for duration, _ in calls if duration > 0]
    return CallSummary(
        calls=len(calls),
        errors=sum(not ok for _, ok in calls),
        duration_p95_ms=exact_quantiles(durations, 0.95)[0],
        duration_max_ms=max(durations, default=0),
    )


def _tool_calls(connection: sqlite3.Connection, session: int) -> list[tuple[int, int]]:
    """Return each call once: both sources know it by the same id."""
    # Telemetry has the lowest code, so it comes last and stays.
    rows = connection.execute(
        "SELECT ident, duration_ms, ok FROM tool_calls WHERE session = ? ORDER BY source DESC",
        (session,),
    )
    return list({ident: (duration, ok) for ident, duration, ok in rows}.values())


def _api_calls(connection: sqlite3.Connection, session: int) -> list[tuple[Any, ...]]:
    """Return each call once: the sources have no id in common, so telemetry's time counts.

    Within the period from its first to its last call telemetry is complete; what a transcript has
    before and after is from when telemetry was off.
    """
    rows = connection.execute(
        "SELECT time_ns, duration_ms, ok, ttft_ms, input_tokens, output_tokens,"
        " cache_read_tokens, cache_creation_tokens, cost_usd, source"
        " FROM api_calls WHERE session = ?",
        (session,),
    ).fetchall()
    covered = [row[0] for row in rows if row[-1] == _TELEMETRY]
    if not covered:
        return rows
    begin, end = min(covered) - _SLACK_NS, max(covered) + _SLACK_NS
    return [row for row in rows if row[-1] == _TELEMETRY or not begin <= row[0] <= end]


def _compactions(connection: sqlite3.Connection, session: int) -> int:
    rows = connection.execute(
        "SELECT count(*) FROM compactions WHERE session = ? GROUP BY source", (session,)
    )
    return max((row[0] for row in rows), default=0)
