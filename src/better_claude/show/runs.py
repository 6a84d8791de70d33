"""The table of single runs, newest first."""

from collections.abc import Callable, Sequence

from better_claude.model import Mode
from better_claude.show import cells
from better_claude.show.moment import clock_time
from better_claude.show.table import NO_EDGE, QUIET, WARN, WRONG, Cell, Column, Grid, Room, lay_out
from better_claude.store.views import StoredRun

SORTS: dict[str, Callable[[StoredRun], object]] = {
    "time": lambda run: -run.start_ns,
    "wall": lambda run: -run.wall_ns,
    "memory": lambda run: -run.anon_peak_bytes,
    "cpu": lambda run: -(run.user_ns + run.sys_ns),
}


def sort_runs(runs: Sequence[StoredRun], order: str) -> list[StoredRun]:
    """Return ``runs`` by one of `SORTS`."""
    return sorted(runs, key=SORTS[order])  # type: ignore[arg-type]


def run_grid(runs: Sequence[StoredRun], now_ns: int, room: Room = NO_EDGE) -> Grid:
    """Lay ``runs`` out in their order."""
    columns: list[Column[StoredRun]] = [
        Column("time", lambda run: clock_time(run.start_ns, now_ns), right=False),
        Column("what", _what, right=False, flexible=True, minimum=14),
        Column("event", lambda run: run.event, right=False, rank=1),
        Column("tool", lambda run: run.tool, right=False, rank=5),
        Column("outcome", lambda run: cells.outcome(run.outcome), right=False),
        Column("took", lambda run: cells.duration(run.wall_ns, run.timeout_ms * 1_000_000)),
        Column(
            "limit", lambda run: Cell(_milliseconds(run.timeout_ms), QUIET, _observed(run)), rank=4
        ),
        Column(
            "memory", lambda run: cells.size(run.anon_peak_bytes, run.memory_limit_bytes), rank=2
        ),
        Column("CPU", lambda run: cells.duration(run.user_ns + run.sys_ns), rank=3),
        Column("exit", _exit, rank=4),
        Column("in", lambda run: cells.size(run.stdin_bytes), rank=7),
        Column("out", lambda run: cells.size(run.stdout_bytes + run.stderr_bytes), rank=7),
        Column("procs", lambda run: cells.count(run.processes), rank=8),
        Column("left running", _leftovers, right=False, rank=3),
        Column("ours", lambda run: cells.duration(run.overhead_ns), rank=8),
        Column("session", lambda run: Cell(cells.short_session(run.session), QUIET), rank=6),
        Column("run", lambda run: Cell(run.run, QUIET), right=False, rank=10),
        Column(
            "command",
            lambda run: Cell(run.command, QUIET),
            right=False,
            rank=11,
            flexible=True,
            minimum=24,
        ),
    ]
    return lay_out(columns, runs, room)


def _what(run: StoredRun) -> Cell:
    if run.mode is Mode.HOOK:
        return Cell(run.name or run.key)
    return Cell(run.name or run.key, tail=f"({run.mode.value})")


def _milliseconds(ms: int) -> str:
    return cells.milliseconds(ms).text


def _observed(run: StoredRun) -> str:
    return "obs." if run.timeout_ms and run.enforcement == "observe" else ""


def _exit(run: StoredRun) -> Cell:
    if run.signal:
        return Cell(f"sig {run.signal}", QUIET)
    return (
        Cell(str(run.exit), QUIET if run.exit in (0, 2) else WRONG) if run.exit >= 0 else Cell("")
    )


def _leftovers(run: StoredRun) -> Cell:
    return Cell(f"{run.leftovers}: {run.leftover_names}", WARN) if run.leftovers else Cell("")
