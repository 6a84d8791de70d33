"""Resolve what a user asked for to the numbers that the tables hold."""

import sqlite3
from fnmatch import fnmatchcase

import msgspec

from better_claude.model import Mode
from better_claude.store.codes import MODES, OUTCOME_CODE
from better_claude.store.views import RunFilter

END_OF_TIME_NS = 1 << 62
# Holds for the rows of sessions in which the launcher recorded no hook.
UNMEASURED = "session NOT IN (SELECT id FROM sessions WHERE hook_runs > 0)"
_GLOB = frozenset("*?[")


class Hook(msgspec.Struct, frozen=True):
    """A row of ``hooks``."""

    id: int
    key: str
    mode: Mode
    name: str
    command: str

    def matches(self, pattern: str) -> bool:
        """Tell whether ``pattern`` matches the whole name or command."""
        return fnmatchcase(self.name, pattern) or fnmatchcase(self.command, pattern)


class Selection(msgspec.Struct, frozen=True):
    """A RunFilter in numbers; None means that there is no such condition."""

    hooks: dict[int, Hook]
    since_ns: int
    until_ns: int
    event: int | None
    sessions: tuple[int, ...] | None
    outcome: int | None
    all_hooks: bool
    unmeasured: bool = False

    @property
    def needs_rows(self) -> bool:
        """Whether hours that were added up cannot answer it."""
        return self.sessions is not None or self.outcome is not None or self.unmeasured

    def conditions(self, time: str) -> tuple[str, list[int]]:
        """Return SQL for all but the hook, with ``time`` as the column of the start."""
        sql, values = f"{time} >= ? AND {time} < ?", [self.since_ns, self.until_ns]
        if self.event is not None:
            sql, values = f"{sql} AND event = ?", [*values, self.event]
        if self.outcome is not None:
            sql, values = f"{sql} AND outcome = ?", [*values, self.outcome]
        if self.sessions is not None:
            places = ", ".join("?" * len(self.sessions))
            sql, values = f"{sql} AND session IN ({places})", [*values, *self.sessions]
        if self.unmeasured:
            sql = f"{sql} AND {UNMEASURED}"
        return sql, values


def select(connection: sqlite3.Connection, wanted: RunFilter) -> Selection:
    """Look up the hooks, the event and the sessions that ``wanted`` names.

    A hook that is named exactly, by key or name, hides those that a pattern would match as well.
    """
    hooks = _hooks(connection, wanted)
    since_ns, until_ns = wanted.since_ns, wanted.until_ns or END_OF_TIME_NS
    sessions = None
    if wanted.session:
        found = _sessions(connection, wanted.session)
        sessions = tuple(row[0] for row in found)
        # Rows lie by hook and time: the sessions' lives are what bounds the search.
        since_ns = max(since_ns, min((row[1] for row in found), default=0))
        until_ns = min(until_ns, max((row[2] for row in found), default=0) + 1)
    return Selection(
        hooks={hook.id: hook for hook in hooks},
        since_ns=since_ns,
        until_ns=until_ns,
        event=_event(connection, wanted.event) if wanted.event else None,
        sessions=sessions,
        outcome=None if wanted.outcome is None else OUTCOME_CODE[wanted.outcome],
        all_hooks=not wanted.hook and wanted.mode is None,
        unmeasured=wanted.unmeasured,
    )


def _hooks(connection: sqlite3.Connection, wanted: RunFilter) -> list[Hook]:
    rows = connection.execute("SELECT id, key, mode, name, command FROM hooks ORDER BY id")
    hooks = [
        Hook(number, key, MODES[mode], name, command) for number, key, mode, name, command in rows
    ]
    if wanted.mode is not None:
        hooks = [hook for hook in hooks if hook.mode is wanted.mode]
    if not wanted.hook:
        return hooks
    exact = [hook for hook in hooks if wanted.hook in (hook.key, hook.name)]
    if exact or not _GLOB & set(wanted.hook):
        return exact
    return [hook for hook in hooks if hook.matches(wanted.hook)]


def _event(connection: sqlite3.Connection, event: str) -> int:
    row = connection.execute("SELECT id FROM names WHERE text = ?", (event,)).fetchone()
    return int(row[0]) if row else -1


def _sessions(connection: sqlite3.Connection, prefix: str) -> list[tuple[int, int, int]]:
    return connection.execute(
        "SELECT id, first_ns, last_ns FROM sessions WHERE substr(session, 1, ?) = ?",
        (len(prefix), prefix),
    ).fetchall()
