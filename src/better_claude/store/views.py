"""What the store answers: the frozen result records of its named queries."""

import msgspec

from better_claude.model import Enforcement, Mode, Outcome, Run, Source


class RunFilter(msgspec.Struct, frozen=True):
    """Which runs are meant; an empty or missing member means all.

    ``since_ns`` is inclusive, ``until_ns`` exclusive, both on the start of a run. ``hook`` is a
    name, a key, or a pattern with ``*``, ``?`` or ``[`` over name and command; ``session`` a
    prefix. ``unmeasured`` leaves out sessions whose hooks the launcher recorded.
    """

    since_ns: int = 0
    until_ns: int | None = None
    hook: str = ""
    event: str = ""
    session: str = ""
    outcome: Outcome | None = None
    mode: Mode | None = None
    source: Source = Source.LAUNCHER
    unmeasured: bool = False


class StoredRun(Run, frozen=True, tag_field="kind", tag="run", kw_only=True):
    """A finished run with the name of its hook; ``source`` tells a launcher's from a transcript's.

    A transcript's has only time, duration (-1 ns where it is not told), outcome, exit code,
    the client's own limit, session, project and event.
    """

    name: str
    source: Source = Source.LAUNCHER


class RunningRun(msgspec.Struct, frozen=True, tag_field="kind", tag="running"):
    """A run that has begun and not ended; ``name`` is its hook's."""

    run: str
    start_ns: int
    mode: Mode
    key: str
    name: str
    launcher_pid: int
    launcher_ticks: int
    command: str = ""
    claude_pid: int = 0
    session: str = ""
    project: str = ""
    event: str = ""
    tool: str = ""


class Percentiles(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles, all 0 for no values; ``maximum`` is always exact."""

    p50: int = 0
    p95: int = 0
    p99: int = 0
    maximum: int = 0


class HookSummary(msgspec.Struct, frozen=True, tag_field="kind", tag="hook"):
    """One hook at one event: how its runs went.

    ``exact`` tells how the percentiles were made: from every value, or, for many runs, from
    sketches with 1% relative accuracy. ``failures`` counts the outcomes that are
    neither ok nor blocked nor cancelled. ``wait_ns`` is the sum of all durations, ``cpu_mean_ns``
    user and system time a run.
    """

    key: str
    name: str
    command: str
    mode: Mode
    event: str
    source: Source
    runs: int
    failures: int
    outcomes: dict[str, int]
    wall_ns: Percentiles
    wait_ns: int
    last_start_ns: int
    exact: bool
    breaches_time: int = 0
    breaches_memory: int = 0
    anon_peak_bytes: int = 0
    cpu_mean_ns: int = 0
    stdin_bytes: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    overhead_median_ns: int = 0


class CallSummary(msgspec.Struct, frozen=True):
    """Tool calls or API calls of a session: how many, how many failed, and their latency."""

    calls: int = 0
    errors: int = 0
    duration_p95_ms: int = 0
    duration_max_ms: int = 0


class SessionSummary(msgspec.Struct, frozen=True, tag_field="kind", tag="session"):
    """One session: its hooks, tools, API calls and resources, over its whole life.

    ``hook_wait_ns`` adds up hooks that ran side by side, so it bounds what the user waited for.
    ``history_runs`` are hook runs as a transcript tells of them; the other hook members do not
    count them.
    CPU, disk and network are -1 where the kernel did not tell.
    """

    session: str
    project: str
    claude_pid: int
    client_version: str
    first_ns: int
    last_ns: int
    running: int
    hook_runs: int
    hook_wait_ns: int
    hook_failures: int
    history_runs: int
    tools: CallSummary
    api: CallSummary
    ttft_p95_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_usd: float = 0.0
    compactions: int = 0
    processes_peak: int = 0
    anon_peak_bytes: int = 0
    rss_peak_bytes: int = 0
    cpu_ns: int = -1
    disk_read_bytes: int = -1
    disk_write_bytes: int = -1
    net_received_bytes: int = -1
    net_sent_bytes: int = -1


class StatusSummary(msgspec.Struct, frozen=True, tag_field="kind", tag="status"):
    """How it stands now and went since ``since_ns``.

    ``recorded`` is False for a store that does not exist yet. ``runs`` and ``outcomes`` are of
    hooks. ``slowest`` are at most five hooks by p95, slowest first. ``ingest_lag_ns`` is the age
    that the newest record of the last commit had when it was committed, ``last_commit_ns`` when
    that was; both 0 before the first. ``quarantine`` counts bad spool lines by reason.
    """

    now_ns: int
    since_ns: int
    recorded: bool
    running: tuple[RunningRun, ...]
    runs: int
    outcomes: dict[str, int]
    sessions: int
    sessions_active: int
    slowest: tuple[HookSummary, ...]
    last_commit_ns: int
    ingest_lag_ns: int
    quarantine: dict[str, int]


class StopForecast(msgspec.Struct, frozen=True, tag_field="kind", tag="forecast"):
    """What limits would have done to one hook at one event, had they held already.

    ``over_time`` and ``over_memory`` count the runs past ``timeout_ms`` and ``memory_bytes``. A
    transcript knows no memory: its rows have ``over_memory`` 0.
    """

    key: str
    name: str
    command: str
    event: str
    source: Source
    runs: int
    over_time: int
    over_memory: int
    timeout_ms: int
    memory_bytes: int
    enforcement: Enforcement
    wall_ns: Percentiles
    anon_peak_bytes: int = 0
