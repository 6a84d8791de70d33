"""The table of what is running at this moment."""

from collections.abc import Callable, Sequence

from better_claude.contract.tree import Limits
from better_claude.model import Mode
from better_claude.show import cells
from better_claude.show.table import NO_EDGE, QUIET, Cell, Column, Grid, Room, lay_out
from better_claude.store.views import RunningRun

RunningLimits = Callable[[RunningRun], Limits]

# Hooks keep the user waiting, tools are awaited anyway, servers are meant to stay.
_ORDER = {Mode.HOOK: 0, Mode.TOOL: 1, Mode.SERVER: 2}


def running_grid(
    running: Sequence[RunningRun],
    limits_of: RunningLimits,
    now_ns: int,
    room: Room = NO_EDGE,
) -> Grid:
    """Lay out what runs now: hooks first, the longest-running first among equals."""

    def limit_ns(run: RunningRun) -> int:
        return limits_of(run).timeout_ms * 1_000_000 if run.mode is Mode.HOOK else 0

    columns: list[Column[RunningRun]] = [
        Column("running", lambda run: run.name or run.key, right=False, flexible=True, minimum=14),
        Column("kind", lambda run: Cell(run.mode.value, QUIET), right=False, rank=3),
        Column("event", lambda run: run.event, right=False, rank=2),
        Column("tool", lambda run: run.tool, right=False, rank=5),
        Column("for", lambda run: cells.duration(max(now_ns - run.start_ns, 1), limit_ns(run))),
        Column("limit", lambda run: Cell(cells.duration(limit_ns(run)).text, QUIET), rank=1),
        Column("pid", lambda run: str(run.launcher_pid), rank=4),
        Column("session", lambda run: Cell(cells.short_session(run.session), QUIET), rank=2),
    ]
    ordered = sorted(running, key=lambda run: (_ORDER[run.mode], run.start_ns))
    return lay_out(columns, ordered, room)
