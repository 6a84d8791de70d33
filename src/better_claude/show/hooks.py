"""The table of hooks: each one's runs, latency, failures, memory, CPU and bytes."""

from collections import Counter
from collections.abc import Callable, Sequence

from better_claude.contract.tree import Limits
from better_claude.show import cells
from better_claude.show.moment import clock_time
from better_claude.show.table import NO_EDGE, QUIET, Cell, Column, Grid, Room, lay_out
from better_claude.store.views import HookSummary

LimitsOf = Callable[[HookSummary], Limits]

_WEIGHTY = 4

# What `--sort` offers; figures go down, names go up.
SORTS: dict[str, Callable[[HookSummary], object]] = {
    "p95": lambda hook: (-hook.wall_ns.p95, hook.name),
    "p50": lambda hook: (-hook.wall_ns.p50, hook.name),
    "p99": lambda hook: (-hook.wall_ns.p99, hook.name),
    "runs": lambda hook: (-hook.runs, hook.name),
    "failures": lambda hook: (-hook.failures, -hook.wall_ns.p95, hook.name),
    "memory": lambda hook: (-hook.anon_peak_bytes, hook.name),
    "cpu": lambda hook: (-hook.cpu_mean_ns * hook.runs, hook.name),
    "wait": lambda hook: (-hook.wait_ns, hook.name),
    "last": lambda hook: (-hook.last_start_ns, hook.name),
    "name": lambda hook: (hook.name, hook.event),
}


def sort_hooks(hooks: Sequence[HookSummary], order: str) -> list[HookSummary]:
    """Return ``hooks`` by one of `SORTS`."""
    return sorted(hooks, key=SORTS[order])  # type: ignore[arg-type]


def hook_grid(
    hooks: Sequence[HookSummary],
    limits_of: LimitsOf,
    now_ns: int,
    room: Room = NO_EDGE,
) -> Grid:
    """Lay ``hooks`` out in their order; a name that two commands share gets the key behind it."""
    return lay_out(_columns("hook", hooks, limits_of, now_ns), hooks, room)


def slowest_grid(
    hooks: Sequence[HookSummary], limits_of: LimitsOf, now_ns: int, room: Room = NO_EDGE
) -> Grid:
    """Lay out a few hooks for the first screen: only the weightier columns, however much room."""
    columns = _columns("slowest hooks", hooks, limits_of, now_ns)
    return lay_out([column for column in columns if column.rank <= _WEIGHTY], hooks, room)


def _columns(
    heading: str, hooks: Sequence[HookSummary], limits_of: LimitsOf, now_ns: int
) -> list[Column[HookSummary]]:
    shared = _shared_names(hooks)

    def hook_cell(hook: HookSummary) -> Cell:
        return Cell(hook.name or hook.key, tail=hook.key[:8] if hook.name in shared else "")

    def over_time(ns: int, hook: HookSummary) -> Cell:
        return cells.duration(ns, limits_of(hook).timeout_ms * 1_000_000)

    return [
        Column(heading, hook_cell, right=False, flexible=True, minimum=14),
        Column("event", lambda hook: hook.event, right=False, rank=1),
        Column("runs", lambda hook: cells.count(hook.runs)),
        Column("failed", lambda hook: cells.bad_count(hook.failures)),
        Column("why", _why, right=False, rank=7),
        Column("blocked", lambda hook: cells.count(hook.outcomes.get("blocked", 0)), rank=6),
        Column("p50", lambda hook: over_time(hook.wall_ns.p50, hook), rank=2),
        Column("p95", lambda hook: over_time(hook.wall_ns.p95, hook)),
        Column("p99", lambda hook: over_time(hook.wall_ns.p99, hook), rank=4),
        Column("max", lambda hook: over_time(hook.wall_ns.maximum, hook), rank=8),
        Column("limit", lambda hook: _limit(limits_of(hook)), rank=3),
        Column(
            "memory",
            lambda hook: cells.size(hook.anon_peak_bytes, limits_of(hook).memory_bytes),
            rank=2,
        ),
        Column("CPU", lambda hook: cells.duration(hook.cpu_mean_ns), rank=5),
        Column("in", lambda hook: cells.size(hook.stdin_bytes), rank=6),
        Column("out", lambda hook: cells.size(hook.stdout_bytes + hook.stderr_bytes), rank=6),
        Column("waited", lambda hook: cells.duration(hook.wait_ns), rank=9),
        Column("last", lambda hook: clock_time(hook.last_start_ns, now_ns), rank=9),
        Column("key", lambda hook: Cell(hook.key, QUIET), right=False, rank=10),
        Column(
            "command",
            lambda hook: Cell(hook.command, QUIET),
            right=False,
            rank=11,
            flexible=True,
            minimum=24,
        ),
    ]


def hook_footer(hooks: Sequence[HookSummary], window: str) -> str:
    """Sum up in one line: hooks, runs, failures, and how the percentiles were made."""
    runs = sum(hook.runs for hook in hooks)
    failures = sum(hook.failures for hook in hooks)
    names = len({hook.key for hook in hooks})
    parts = [cells.plural(names, "hook"), cells.plural(runs, "run"), f"{failures:,} failed", window]
    if not all(hook.exact for hook in hooks):
        parts.append("percentiles within 1%")
    return " · ".join(parts)


def _shared_names(hooks: Sequence[HookSummary]) -> frozenset[str]:
    names = Counter(name for name, _ in {(hook.name, hook.key) for hook in hooks})
    return frozenset(name for name, keys in names.items() if keys > 1)


def _why(hook: HookSummary) -> Cell:
    return Cell(cells.outcome_list(hook.outcomes), QUIET)


def _limit(limits: Limits) -> Cell:
    observed = "" if limits.enforcement == "enforce" else "obs."
    return Cell(cells.duration(limits.timeout_ms * 1_000_000).text, QUIET, observed)
