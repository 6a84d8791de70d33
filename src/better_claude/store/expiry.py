"""Delete what is older than the contract keeps it, a bounded batch at a time."""

import sqlite3

from better_claude.store.rollup import HOUR_NS

# A prompt or agent may be mentioned for long after it was first met.
_IDENT_GRACE_NS = 7 * 24 * HOUR_NS

_BY_SESSION = (
    ("tool_calls", "session, ident, source"),
    ("api_calls", "session, ident, source"),
    ("compactions", "session, ident, source"),
    ("client_events", "session, ident, source"),
    ("metric_points", "session, name, time_ns, attributes"),
    ("session_samples", "session, time_ns, claude_pid"),
)


def expire(connection: sqlite3.Connection, detailed_ns: int, aggregated_ns: int, limit: int) -> int:
    """Delete about ``limit`` rows, runs first, inside the caller's transaction."""
    deleted = _expire_runs(connection, detailed_ns, limit)
    if deleted < limit:
        deleted += _expire_calls(connection, detailed_ns, limit - deleted)
    if deleted < limit:
        deleted += _expire_rest(connection, detailed_ns, aggregated_ns)
    return deleted


def _expire_runs(connection: sqlite3.Connection, before_ns: int, limit: int) -> int:
    deleted = 0
    for (hook,) in connection.execute("SELECT id FROM hooks").fetchall():
        deleted += connection.execute(
            "DELETE FROM runs WHERE hook = ?1 AND (start_ns, run) IN ("
            "SELECT start_ns, run FROM runs WHERE hook = ?1 AND start_ns < ?2 LIMIT ?3)",
            (hook, before_ns, limit - deleted),
        ).rowcount
        if deleted >= limit:
            break
    if deleted:
        # From here on an hour may be added up that has no single rows any more.
        connection.execute("UPDATE progress SET expired_ns = max(expired_ns, ?)", (before_ns,))
    return deleted


def _expire_calls(connection: sqlite3.Connection, before_ns: int, limit: int) -> int:
    deleted = connection.execute(
        "DELETE FROM history_runs WHERE (hook, session, ident) IN ("
        "SELECT hook, session, ident FROM history_runs WHERE time_ns < ? LIMIT ?)",
        (before_ns, limit),
    ).rowcount
    old = "SELECT id FROM sessions WHERE first_ns < ? UNION ALL SELECT 0"
    for table, key in _BY_SESSION:
        if deleted >= limit:
            break
        deleted += connection.execute(
            f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table}"
            f" WHERE session IN ({old}) AND time_ns < ? LIMIT ?)",
            (before_ns, before_ns, limit - deleted),
        ).rowcount
    return deleted


def _expire_rest(connection: sqlite3.Connection, detailed_ns: int, aggregated_ns: int) -> int:
    """Delete the small tables' rows: there are few, so all at once."""
    statements: tuple[tuple[str, int], ...] = (
        ("DELETE FROM idents WHERE first_ns < ?", detailed_ns - _IDENT_GRACE_NS),
        ("DELETE FROM quarantine WHERE time_ns < ?", detailed_ns),
        (
            "DELETE FROM session_processes WHERE session IN"
            " (SELECT id FROM sessions WHERE last_ns < ?)",
            detailed_ns,
        ),
        (
            "DELETE FROM sessions WHERE last_ns < ? AND id NOT IN (SELECT session FROM running)",
            detailed_ns,
        ),
        ("DELETE FROM run_hours WHERE hour < ?", aggregated_ns // HOUR_NS),
    )
    return sum(connection.execute(sql, (before,)).rowcount for sql, before in statements)
