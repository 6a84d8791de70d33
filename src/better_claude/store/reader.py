"""Read the store from any process, while the service writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from better_claude.model import Mode, SessionSample
from better_claude.store import running, samples, session_summaries, single_runs, summaries
from better_claude.store.failures import explained
from better_claude.store.migrations import check_readable, migrate
from better_claude.store.selection import select
from better_claude.store.views import (
    HookSummary,
    RunFilter,
    RunningRun,
    SessionSummary,
    StatusSummary,
    StopForecast,
    StoredRun,
)

if TYPE_CHECKING:
    from better_claude.store.forecast import LimitsOf

_ALL = RunFilter()
# The sampler looks at every live session every few seconds.
_ACTIVE_NS = 60_000_000_000
_SLOWEST = 5


def open_reader(path: Path) -> "Reader":
    """Open the store at ``path`` read-only; one that does not exist yet reads as an empty one.

    Raises StoreError if the file cannot be read, is not ours, or has another version's schema.
    """
    try:
        connection = _open_existing(path) if path.exists() else None
    except (OSError, sqlite3.Error) as error:
        raise explained(error, path) from error
    if connection is not None:
        return Reader(connection, path, recorded=True)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return Reader(connection, path, recorded=False)


def _open_existing(path: Path) -> sqlite3.Connection | None:
    """Open a store, None if its maker has not come to the schema yet."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=5, isolation_level=None)
    readable = False
    try:
        readable = check_readable(connection)
    finally:
        if not readable:
            connection.close()
    return connection if readable else None


class Reader:
    """The named queries. Each is short, and sees whole commits only.

    ``recorded`` is False if nothing was ever stored. Every method raises StoreError if the file
    turns out to be damaged.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, recorded: bool) -> None:
        self._connection = connection
        self._path = path
        self.recorded = recorded

    def status(self, since_ns: int, now_ns: int) -> StatusSummary:
        """Return how it stands now, and how the hooks went since ``since_ns``."""
        with self._query() as connection:
            hooks = summaries.hook_summaries(
                connection, RunFilter(since_ns=since_ns, mode=Mode.HOOK)
            )
            outcomes: dict[str, int] = {}
            for hook in hooks:
                for outcome, count in hook.outcomes.items():
                    outcomes[outcome] = outcomes.get(outcome, 0) + count
            sessions, active = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE last_ns >= ?) FROM sessions"
                " WHERE last_ns >= ?",
                (now_ns - _ACTIVE_NS, min(since_ns, now_ns - _ACTIVE_NS)),
            ).fetchone()
            commit_ns, lag_ns = connection.execute(
                "SELECT commit_ns, lag_ns FROM progress"
            ).fetchone()
            return StatusSummary(
                now_ns=now_ns,
                since_ns=since_ns,
                recorded=self.recorded,
                running=tuple(running.read(connection)),
                runs=sum(outcomes.values()),
                outcomes=outcomes,
                sessions=sessions,
                sessions_active=active,
                slowest=tuple(sorted(hooks, key=lambda each: -each.wall_ns.p95)[:_SLOWEST]),
                last_commit_ns=commit_ns,
                ingest_lag_ns=lag_ns,
                quarantine=dict(
                    connection.execute(
                        "SELECT reason, sum(pieces) FROM quarantine WHERE time_ns >= ?"
                        " GROUP BY reason ORDER BY reason",
                        (since_ns,),
                    )
                ),
            )

    def hook_summaries(self, wanted: RunFilter = _ALL) -> list[HookSummary]:
        """Return a summary for each hook and event with runs, most waited for first."""
        with self._query() as connection:
            return summaries.hook_summaries(connection, wanted)

    def runs(self, wanted: RunFilter = _ALL, limit: int = 50) -> list[StoredRun]:
        """Return at most ``limit`` finished runs, newest first."""
        with self._query() as connection:
            return single_runs.runs(connection, wanted, limit)

    def running(self, wanted: RunFilter = _ALL) -> list[RunningRun]:
        """Return the starts without an end, oldest first; ``outcome`` does not apply."""
        with self._query() as connection:
            keys = {(hook.key, hook.mode) for hook in select(connection, wanted).hooks.values()}
            return [
                run
                for run in running.read(connection)
                if (run.key, run.mode) in keys
                and wanted.event in ("", run.event)
                and run.session.startswith(wanted.session)
                and wanted.since_ns <= run.start_ns
                and (wanted.until_ns is None or run.start_ns < wanted.until_ns)
            ]

    def sessions(self, wanted: RunFilter = _ALL, limit: int = 50) -> list[SessionSummary]:
        """Return at most ``limit`` sessions, last seen first.

        Only ``since_ns``, ``until_ns`` and ``session`` apply, and they choose sessions: each
        is summed up over its whole life.
        """
        with self._query() as connection:
            return session_summaries.sessions(connection, wanted, limit)

    def samples(self, since_ns: int) -> list[SessionSample]:
        """Return what session trees used at or after ``since_ns``, oldest first."""
        with self._query() as connection:
            return samples.read(connection, since_ns)

    def would_have_stopped(self, limits_of: "LimitsOf", since_ns: int = 0) -> list[StopForecast]:
        """Return what limits would have done to each hook, most stopped first.

        ``Contract.hook_limits`` fits for ``limits_of``.
        """
        from better_claude.store.forecast import would_have_stopped

        with self._query() as connection:
            return would_have_stopped(connection, limits_of, since_ns)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _query(self) -> Iterator[sqlite3.Connection]:
        """Let all of a query see the same commit."""
        try:
            self._connection.execute("BEGIN")
            yield self._connection
        except sqlite3.Error as error:
            raise explained(error, self._path) from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
