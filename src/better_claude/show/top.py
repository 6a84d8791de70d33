"""The live screen: what runs now, and what each session's process tree is using."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import msgspec

from better_claude.model import SessionSample
from better_claude.show import cells
from better_claude.show.table import NO_EDGE, QUIET, Cell, Column, Grid, Room, lay_out
from better_claude.store.views import SessionSummary

# Rates are means over the samples of this long: short enough to be "now", long enough to be calm.
RATE_WINDOW_NS = 10_000_000_000
_UNKNOWN = -1.0


class SessionLoad(msgspec.Struct, frozen=True, tag_field="kind", tag="load"):
    """What a session's process tree uses at ``time_ns``, its newest sample.

    ``cpu_cores`` is the mean number of busy cores since the oldest sample that was given, the rates
    are bytes a second over the same time; -1 for a single sample or where the kernel is silent.
    """

    session: str
    claude_pid: int
    time_ns: int
    processes: int
    anon_bytes: int
    rss_bytes: int
    cpu_cores: float = _UNKNOWN
    disk_read_rate: float = _UNKNOWN
    disk_write_rate: float = _UNKNOWN
    net_received_rate: float = _UNKNOWN
    net_sent_rate: float = _UNKNOWN


def session_loads(samples: Iterable[SessionSample]) -> list[SessionLoad]:
    """Return one load for each client process among ``samples`` (any order), the busiest first."""

    def client(sample: SessionSample) -> tuple[str, int]:
        return sample.session, sample.claude_pid

    ordered = sorted(samples, key=lambda sample: (*client(sample), sample.time_ns))
    loads = [_load(list(group)) for _, group in groupby(ordered, key=client)]
    return sorted(loads, key=lambda load: (-load.cpu_cores, -load.anon_bytes, load.session))


def _load(samples: Sequence[SessionSample]) -> SessionLoad:
    first, last = samples[0], samples[-1]
    elapsed_ns = last.time_ns - first.time_ns

    def rate(before: int, after: int) -> float:
        # A total that shrinks began anew with another process: no difference to speak of.
        if elapsed_ns <= 0 or before < 0 or after < before:
            return _UNKNOWN
        return (after - before) / elapsed_ns

    def bytes_rate(before: int, after: int) -> float:
        bytes_a_ns = rate(before, after)
        return bytes_a_ns if bytes_a_ns < 0 else bytes_a_ns * 1e9

    return SessionLoad(
        session=last.session,
        claude_pid=last.claude_pid,
        time_ns=last.time_ns,
        processes=last.processes,
        anon_bytes=last.anon_bytes,
        rss_bytes=last.rss_bytes,
        cpu_cores=rate(first.cpu_ns, last.cpu_ns),
        disk_read_rate=bytes_rate(first.disk_read_bytes, last.disk_read_bytes),
        disk_write_rate=bytes_rate(first.disk_write_bytes, last.disk_write_bytes),
        net_received_rate=bytes_rate(first.net_received_bytes, last.net_received_bytes),
        net_sent_rate=bytes_rate(first.net_sent_bytes, last.net_sent_bytes),
    )


def load_grid(
    loads: Sequence[SessionLoad],
    summaries: Mapping[str, SessionSummary],
    room: Room = NO_EDGE,
) -> Grid:
    """Lay ``loads`` out in their order, with what ``summaries`` know of each session."""

    def summed(load: SessionLoad, field: str) -> int:
        summary = summaries.get(load.session)
        return getattr(summary, field) if summary is not None else 0

    def project(load: SessionLoad) -> str:
        summary = summaries.get(load.session)
        return summary.project.rstrip("/").rpartition("/")[2] if summary is not None else ""

    columns: list[Column[SessionLoad]] = [
        Column("session", lambda load: cells.short_session(load.session), right=False),
        Column("project", project, right=False, rank=2, flexible=True, minimum=8),
        Column("pid", lambda load: Cell(str(load.claude_pid), QUIET), rank=3),
        Column("procs", lambda load: cells.count(load.processes), rank=1),
        Column("CPU", _cpu),
        Column("memory", lambda load: cells.size(load.anon_bytes)),
        Column("disk r/s", lambda load: _rate(load.disk_read_rate), rank=2),
        Column("w/s", lambda load: _rate(load.disk_write_rate), rank=2),
        Column("net in/s", lambda load: _rate(load.net_received_rate), rank=3),
        Column("out/s", lambda load: _rate(load.net_sent_rate), rank=3),
        Column("hooks", lambda load: cells.count(summed(load, "hook_runs")), rank=4),
        Column("waited", lambda load: cells.duration(summed(load, "hook_wait_ns")), rank=5),
        Column("failed", lambda load: cells.bad_count(summed(load, "hook_failures")), rank=4),
    ]
    return lay_out(columns, loads, room)


def _cpu(load: SessionLoad) -> str:
    return f"{load.cpu_cores:.0%}" if load.cpu_cores >= 0 else ""


def _rate(bytes_a_second: float) -> Cell:
    return cells.size(round(bytes_a_second))
