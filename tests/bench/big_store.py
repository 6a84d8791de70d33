"""Build a store of 30 days with 100,000 runs each, in SQL: seconds instead of minutes."""

import random
import sqlite3
import sys
import time
from pathlib import Path

from tests.records import HOUR_NS, key_of

from better_claude.store.rollup import rebuild
from better_claude.store.writer import Writer

HOOKS = 20
EVENTS = ("PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop")
SESSIONS_A_DAY = 30
DAY_NS = 24 * HOUR_NS

# Sizes as measured on real hooks: tens of milliseconds, some 10 MB, 99% ok.
_INSERT = """
WITH RECURSIVE number(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :runs),
     dice AS MATERIALIZED (SELECT n, abs(random()) AS r, abs(random()) AS q FROM number)
INSERT INTO runs
SELECT r % :hooks + 1, :begin + n * (:span / :runs), random(),
       5000000 + (r >> 8) % 40000000 * (1 + (q % 20 = 0) * (q >> 9) % 10),
       CASE WHEN (q >> 5) % 1000 < 990 THEN 0 ELSE (q >> 5) % 7 END,
       r % :hooks % 4 + 1, n / (:runs / :sessions) + 1, 0,
       4194304 + (q >> 12) % 9000 * 4096, (r >> 20) % 30000 * 1000, (r >> 30) % 9000 * 1000,
       300 + (r >> 10) % 6000, (q >> 20) % 300, 0, 0, (q >> 24) % 4 * 4096,
       200000 + (r >> 13) % 300000, 0, 0, 1, 5, 6, 1 + n / 50 % 1000, 0,
       'toolu_01' || hex(n) || substr(hex(r), 1, 10), 4000000, 1,
       9437184 + (q >> 16) % 9000 * 4096, (r >> 40) % 30, (q >> 40) % 9, 1 + (r >> 50) % 3,
       0, '', 0, 1
FROM dice
"""


def build(path: Path, days: int = 30, runs_a_day: int = 100_000, now_ns: int = 0) -> int:
    """Write the store, ending at ``now_ns`` (default: now); return the number of runs."""
    now_ns = now_ns or time.time_ns()
    Writer.open(path).close()
    runs, span = days * runs_a_day, days * DAY_NS
    with Writer.open(path) as writer:
        connection = writer._connection
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for number in range(1, HOOKS + 1):
            command = f"python3 ~/.claude/hooks/hook{number}.py --strict"
            row = (number, key_of(command), f"hook{number}.py", command)
            connection.execute(
                "INSERT INTO hooks (id, key, mode, name, command) VALUES (?, ?, 0, ?, ?)", row
            )
        names = [*EVENTS, "/home/me/project", "Bash"]
        connection.executemany("INSERT INTO names (text) VALUES (?)", [(name,) for name in names])
        connection.execute("INSERT INTO terms VALUES (1, 0, 2000, 52428800)")
        _insert_sessions(connection, days * SESSIONS_A_DAY, now_ns - span, span)
        values = {
            "runs": runs,
            "hooks": HOOKS,
            "begin": now_ns - span,
            "span": span,
            "sessions": days * SESSIONS_A_DAY,
        }
        connection.execute(_INSERT, values)
        hours = connection.execute(
            f"SELECT DISTINCT hook, start_ns / {HOUR_NS} * {HOUR_NS}, 0, 0, 0, event FROM runs"
        ).fetchall()
        for row in hours:
            rebuild(connection, row)
        connection.execute("COMMIT")
        connection.execute("ANALYZE")
    return runs


def _insert_sessions(
    connection: sqlite3.Connection, count: int, begin_ns: int, span_ns: int
) -> None:
    rng = random.Random(1)
    rows = [
        (
            f"{rng.getrandbits(128):032x}",
            "/home/me/project",
            begin_ns + number * span_ns // count,
            begin_ns + (number + 1) * span_ns // count,
        )
        for number in range(count)
    ]
    connection.executemany(
        "INSERT INTO sessions (session, project, first_ns, last_ns) VALUES (?, ?, ?, ?)", rows
    )


if __name__ == "__main__":
    begin = time.perf_counter()
    print(build(Path(sys.argv[1])), "runs in", round(time.perf_counter() - begin, 1), "s")
