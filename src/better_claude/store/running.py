"""Read the starts that have no end yet."""

import sqlite3

from better_claude.store.codes import MODES, spelled_run
from better_claude.store.views import RunningRun

_SELECT = """
SELECT running.run, start_ns, mode, key, hooks.name, launcher_pid, launcher_ticks, command,
       running.claude_pid, coalesce(sessions.session, ''), coalesce(projects.text, ''),
       coalesce(events.text, ''), coalesce(tools.text, '')
FROM running
JOIN hooks ON hooks.id = running.hook
LEFT JOIN sessions ON sessions.id = running.session
LEFT JOIN names AS projects ON projects.id = running.project
LEFT JOIN names AS events ON events.id = running.event
LEFT JOIN names AS tools ON tools.id = running.tool
ORDER BY start_ns, running.run
"""


def read(connection: sqlite3.Connection) -> list[RunningRun]:
    """Return them, oldest first."""
    return [
        RunningRun(spelled_run(run), start_ns, MODES[mode], *rest)
        for run, start_ns, mode, *rest in connection.execute(_SELECT)
    ]
