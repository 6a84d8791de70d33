"""The table of sessions: hooks, tools, API calls and what the process tree used."""

from collections.abc import Callable, Sequence

from better_claude.show import cells
from better_claude.show.moment import clock_time
from better_claude.show.table import GOOD, NO_EDGE, QUIET, WRONG, Cell, Column, Grid, Room, lay_out
from better_claude.store.views import CallSummary, SessionSummary

SORTS: dict[str, Callable[[SessionSummary], object]] = {
    "time": lambda session: -session.last_ns,
    "wait": lambda session: -session.hook_wait_ns,
    "failures": lambda session: -session.hook_failures,
    "memory": lambda session: -session.anon_peak_bytes,
    "cpu": lambda session: -session.cpu_ns,
    "cost": lambda session: -session.cost_usd,
    "tokens": lambda session: -(session.input_tokens + session.output_tokens),
}


def sort_sessions(sessions: Sequence[SessionSummary], order: str) -> list[SessionSummary]:
    """Return ``sessions`` by one of `SORTS`."""
    return sorted(sessions, key=SORTS[order])  # type: ignore[arg-type]


def session_grid(sessions: Sequence[SessionSummary], now_ns: int, room: Room = NO_EDGE) -> Grid:
    """Lay ``sessions`` out in their order, each over its whole life."""
    columns: list[Column[SessionSummary]] = [
        Column("session", _session, right=False),
        Column("project", _project, right=False, flexible=True, minimum=10, rank=1),
        Column("last", lambda s: clock_time(s.last_ns, now_ns)),
        Column("lasted", lambda s: cells.duration(s.last_ns - s.first_ns), rank=4),
        Column("hooks", lambda s: cells.count(s.hook_runs)),
        Column("history", lambda s: cells.count(s.history_runs), rank=5),
        Column("waited", lambda s: cells.duration(s.hook_wait_ns), rank=2),
        Column("failed", lambda s: cells.bad_count(s.hook_failures)),
        Column("tools", lambda s: _calls(s.tools), rank=2),
        Column("tool p95", lambda s: cells.milliseconds(s.tools.duration_p95_ms), rank=4),
        Column("API", lambda s: _calls(s.api), rank=2),
        Column("API p95", lambda s: cells.milliseconds(s.api.duration_p95_ms), rank=4),
        Column("first token", lambda s: cells.milliseconds(s.ttft_p95_ms), rank=7),
        Column("in", lambda s: cells.tokens(s.input_tokens), rank=5),
        Column("out", lambda s: cells.tokens(s.output_tokens), rank=5),
        Column("cached", lambda s: cells.tokens(s.cache_read_tokens), rank=6),
        Column("cost", lambda s: cells.dollars(s.cost_usd), rank=3),
        Column("compacted", lambda s: cells.count(s.compactions), rank=8),
        Column("memory", lambda s: cells.size(s.anon_peak_bytes), rank=3),
        Column("CPU", lambda s: cells.duration(s.cpu_ns), rank=3),
        Column("disk r/w", lambda s: pair(s.disk_read_bytes, s.disk_write_bytes), rank=7),
        Column("net r/s", lambda s: pair(s.net_received_bytes, s.net_sent_bytes), rank=7),
        Column("client", lambda s: Cell(s.client_version, QUIET), right=False, rank=9),
        Column("id", lambda s: Cell(s.session, QUIET), right=False, rank=10),
    ]
    return lay_out(columns, sessions, room)


def pair(first_bytes: int, second_bytes: int) -> str:
    """Spell two sizes, ``-`` for none or not told; nothing if both are so."""
    texts = [cells.size(size_bytes).text for size_bytes in (first_bytes, second_bytes)]
    return "/".join(text or "-" for text in texts) if any(texts) else ""


def _session(session: SessionSummary) -> Cell:
    """Mark a session in which something runs at this moment."""
    return Cell(cells.short_session(session.session), GOOD if session.running else "")


def _project(session: SessionSummary) -> str:
    return session.project.rstrip("/").rpartition("/")[2] or session.project


def _calls(calls: CallSummary) -> Cell:
    errors = f"{calls.errors:,} failed" if calls.errors else ""
    return Cell(cells.count(calls.calls), tail=errors, tail_style=WRONG)
