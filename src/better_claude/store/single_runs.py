"""Answer which runs there were, one by one."""

import heapq
import sqlite3
from typing import Any

from better_claude.model import Source
from better_claude.store.codes import (
    ANON_SOURCES,
    BREACHES,
    ENFORCEMENTS,
    EXECS,
    OUTCOMES,
    spelled_run,
)
from better_claude.store.selection import Hook, Selection, select
from better_claude.store.views import RunFilter, StoredRun

_Key = tuple[int, int, int | str, int]

_RUN = """
SELECT run, start_ns, wall_ns, outcome, runs.claude_pid, sessions.session, projects.text,
       events.text, tools.text, prompts.text, agents.text, tool_use, exit, signal, breach,
       enforcement, timeout_ms, memory_limit_bytes, user_ns, sys_ns, anon_peak_bytes,
       anon_source, rss_peak_bytes, disk_read_bytes, disk_write_bytes, stdin_bytes,
       stdout_bytes, stderr_bytes, ctx_voluntary, ctx_involuntary, processes, leftovers,
       leftover_names, stop_ns, overhead_ns, exec
FROM runs
LEFT JOIN sessions ON sessions.id = runs.session
LEFT JOIN terms ON terms.id = runs.terms
LEFT JOIN names AS projects ON projects.id = runs.project
LEFT JOIN names AS events ON events.id = runs.event
LEFT JOIN names AS tools ON tools.id = runs.tool
LEFT JOIN idents AS prompts ON prompts.id = runs.prompt
LEFT JOIN idents AS agents ON agents.id = runs.agent
WHERE (hook, start_ns, run) = (?, ?, ?)
"""
_HISTORY = """
SELECT ident, time_ns, duration_ms, outcome, exit, timeout_ms, sessions.session,
       projects.text, events.text
FROM history_runs
LEFT JOIN sessions ON sessions.id = history_runs.session
LEFT JOIN names AS projects ON projects.id = history_runs.project
LEFT JOIN names AS events ON events.id = history_runs.event
WHERE (hook, ident, history_runs.session) = (?, ?, ?)
"""


def runs(connection: sqlite3.Connection, wanted: RunFilter, limit: int) -> list[StoredRun]:
    """Return at most ``limit`` runs, newest first."""
    selection = select(connection, wanted)
    if wanted.source is Source.TRANSCRIPT:
        columns = "time_ns, hook, ident, session"
        keys = _newest(connection, selection, f"{columns} FROM history_runs", limit)
        return [_history_run(connection, selection.hooks[key[1]], key) for key in keys]
    keys = _newest(connection, selection, "start_ns, hook, run, session FROM runs", limit)
    return [_run(connection, selection.hooks[key[1]], key) for key in keys]


def _newest(
    connection: sqlite3.Connection, selection: Selection, columns: str, limit: int
) -> list[_Key]:
    """Merge each hook's newest: rows lie by hook and time, so that each is a short look."""
    time = columns.partition(",")[0]
    sql, values = selection.conditions(time)
    query = f"SELECT {columns} WHERE hook = ? AND {sql} ORDER BY {time} DESC LIMIT ?"
    newest: list[_Key] = []
    for hook in selection.hooks:
        newest += connection.execute(query, [hook, *values, limit])
    return heapq.nlargest(limit, newest)


def _run(connection: sqlite3.Connection, hook: Hook, key: _Key) -> StoredRun:
    start_ns, hook_id, run, _ = key
    row = connection.execute(_RUN, (hook_id, start_ns, run)).fetchone()
    return _stored_run(hook, row)


def _stored_run(hook: Hook, row: tuple[Any, ...]) -> StoredRun:
    return StoredRun(
        name=hook.name,
        key=hook.key,
        mode=hook.mode,
        command=hook.command,
        run=spelled_run(row[0]),
        start_ns=row[1],
        wall_ns=row[2],
        outcome=OUTCOMES[row[3]],
        claude_pid=row[4],
        session=row[5] or "",
        project=row[6] or "",
        event=row[7] or "",
        tool=row[8] or "",
        prompt=row[9] or "",
        agent=row[10] or "",
        tool_use=row[11],
        exit=row[12],
        signal=row[13],
        breach=BREACHES[row[14]],  # type: ignore[arg-type]
        enforcement=ENFORCEMENTS[row[15]],
        timeout_ms=row[16],
        memory_limit_bytes=row[17],
        user_ns=row[18],
        sys_ns=row[19],
        anon_peak_bytes=row[20],
        anon_source=ANON_SOURCES[row[21]],  # type: ignore[arg-type]
        rss_peak_bytes=row[22],
        disk_read_bytes=row[23],
        disk_write_bytes=row[24],
        stdin_bytes=row[25],
        stdout_bytes=row[26],
        stderr_bytes=row[27],
        ctx_voluntary=row[28],
        ctx_involuntary=row[29],
        processes=row[30],
        leftovers=row[31],
        leftover_names=row[32],
        stop_ns=row[33],
        overhead_ns=row[34],
        exec=EXECS[row[35]],  # type: ignore[arg-type]
    )


def _history_run(connection: sqlite3.Connection, hook: Hook, key: _Key) -> StoredRun:
    _, hook_id, ident, session = key
    row = connection.execute(_HISTORY, (hook_id, ident, session)).fetchone()
    return StoredRun(
        name=hook.name,
        key=hook.key,
        mode=hook.mode,
        command=hook.command,
        source=Source.TRANSCRIPT,
        run=row[0],
        start_ns=row[1],
        wall_ns=row[2] * 1_000_000 if row[2] >= 0 else -1,
        outcome=OUTCOMES[row[3]],
        exit=row[4],
        timeout_ms=row[5],
        session=row[6] or "",
        project=row[7] or "",
        event=row[8] or "",
    )
