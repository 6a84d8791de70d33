"""The records that pass between the stages.

Frozen, with units in their names. Field names are the ones in docs/formats.md, so that
what is in the spool, in ``--json`` output and here is called the same.
"""

from enum import StrEnum
from typing import Literal

import msgspec

FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3


def fnv1a64(data: bytes) -> int:
    """Return the 64-bit FNV-1a hash of ``data`` (draft-eastlake-fnv): a hook's key."""
    value = FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return value


class Mode(StrEnum):
    """What kind of process the launcher was started for."""

    HOOK = "hook"
    TOOL = "tool"
    SERVER = "server"


class Outcome(StrEnum):
    """How a run ended.

    ``LOST`` is a run whose launcher never wrote its end; ``UNKNOWN`` is history only: a transcript
    that tells that a hook ran, but not how it ended.
    """

    OK = "ok"
    BLOCKED = "blocked"
    ERROR = "error"
    TIMEOUT = "timeout"
    OVER_MEMORY = "over_memory"
    CANCELLED = "cancelled"
    LOST = "lost"
    UNKNOWN = "unknown"


class Enforcement(StrEnum):
    """What a limit does: end the run, or only be recorded."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class Source(StrEnum):
    """Where a record comes from; the launcher's are the truth, transcripts are history."""

    LAUNCHER = "launcher"
    TRANSCRIPT = "transcript"
    TELEMETRY = "telemetry"
    SAMPLER = "sampler"


class RunStart(msgspec.Struct, frozen=True, tag_field="kind", tag="start"):
    """A run that has begun: the spool's first line for it."""

    run: str
    start_ns: int
    mode: Mode
    key: str
    launcher_pid: int
    launcher_ticks: int
    command: str = ""
    claude_pid: int = 0
    session: str = ""
    project: str = ""
    event: str = ""
    tool: str = ""


class Run(msgspec.Struct, frozen=True, tag_field="kind", tag="end"):
    """A finished run: the spool's second line for it, and a row of the store.

    ``start_ns`` is wall time, ``wall_ns`` a monotonic duration. Bytes of standard streams
    are what passed through the launcher; 0 where it did not stand between. ``exit`` and
    ``signal`` are the child's, -1 and 0 where they do not apply.
    """

    run: str
    start_ns: int
    wall_ns: int
    mode: Mode
    key: str
    outcome: Outcome
    command: str = ""
    claude_pid: int = 0
    session: str = ""
    project: str = ""
    event: str = ""
    tool: str = ""
    prompt: str = ""
    tool_use: str = ""
    agent: str = ""
    exit: int = -1
    signal: int = 0
    breach: Literal["", "time", "memory"] = ""
    enforcement: Enforcement = Enforcement.ENFORCE
    timeout_ms: int = 0
    memory_limit_bytes: int = 0
    user_ns: int = 0
    sys_ns: int = 0
    anon_peak_bytes: int = 0
    anon_source: Literal["", "statm", "cgroup"] = ""
    rss_peak_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    stdin_bytes: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    ctx_voluntary: int = 0
    ctx_involuntary: int = 0
    processes: int = 1
    leftovers: int = 0
    leftover_names: str = ""
    stop_ns: int = 0
    overhead_ns: int = 0
    exec: Literal["", "direct", "shell"] = ""


class ApiCall(msgspec.Struct, frozen=True):
    """One request to the model, from telemetry or a transcript."""

    time_ns: int
    session: str
    model: str
    source: Source
    ident: str
    duration_ms: int = 0
    ttft_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_usd: float = 0.0
    ok: bool = True
    error: str = ""
    prompt: str = ""
    agent: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    """One tool call as the client saw it, from telemetry or a transcript."""

    time_ns: int
    session: str
    tool: str
    source: Source
    ident: str
    duration_ms: int = 0
    ok: bool = True
    error: str = ""
    input_bytes: int = 0
    result_bytes: int = 0
    prompt: str = ""
    agent: str = ""


class HistoryRun(msgspec.Struct, frozen=True):
    """One hook run as a transcript tells it: less than a Run, and never mixed with one.

    ``duration_ms`` is -1 where the transcript does not tell: such a run counts, but belongs in no
    percentile. ``key`` is that of ``command``, or of ``name`` where the command is not told.
    """

    time_ns: int
    session: str
    event: str
    name: str
    command: str
    key: str
    ident: str
    duration_ms: int
    outcome: Outcome
    exit: int = -1
    timeout_ms: int = 0
    project: str = ""


class Compaction(msgspec.Struct, frozen=True):
    """One compaction of a session's context."""

    time_ns: int
    session: str
    source: Source
    ident: str
    trigger: str = ""
    pre_tokens: int = 0
    post_tokens: int = 0
    duration_ms: int = 0
    ok: bool = True


class ClientEvent(msgspec.Struct, frozen=True):
    """Any other telemetry event of the client that we keep: a name and numbers, no content."""

    time_ns: int
    session: str
    name: str
    source: Source
    ident: str
    attributes: dict[str, str | int | float | bool] = {}


class MetricPoint(msgspec.Struct, frozen=True):
    """One point of a telemetry metric (delta temporality)."""

    time_ns: int
    session: str
    name: str
    value: float
    attributes: dict[str, str | int | float | bool] = {}


class SessionSample(msgspec.Struct, frozen=True):
    """One look at a Claude Code process and everything below it.

    CPU and I/O are totals that never fall, since the client began, or, after a restart of the
    service, since that; -1 where the kernel does not tell.
    """

    time_ns: int
    session: str
    claude_pid: int
    processes: int
    cpu_ns: int
    anon_bytes: int
    rss_bytes: int
    disk_read_bytes: int = -1
    disk_write_bytes: int = -1
    net_received_bytes: int = -1
    net_sent_bytes: int = -1


Record = (
    RunStart
    | Run
    | ApiCall
    | ToolCall
    | HistoryRun
    | Compaction
    | ClientEvent
    | MetricPoint
    | SessionSample
)
