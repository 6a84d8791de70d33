"""Read what session trees used of late."""

import sqlite3

from better_claude.model import SessionSample

# By way of the sessions that were alive: samples lie together by session, maybe millions of them.
_SELECT = """
SELECT time_ns, sessions.session, session_samples.claude_pid, processes, cpu_ns, anon_bytes,
       rss_bytes, disk_read_bytes, disk_write_bytes, net_received_bytes, net_sent_bytes
FROM sessions
JOIN session_samples ON session_samples.session = sessions.id AND time_ns >= :since_ns
WHERE sessions.last_ns >= :since_ns
ORDER BY time_ns, sessions.session
"""


def read(connection: sqlite3.Connection, since_ns: int) -> list[SessionSample]:
    """Return the samples that were taken at or after ``since_ns``, oldest first."""
    return [SessionSample(*row) for row in connection.execute(_SELECT, {"since_ns": since_ns})]
