"""Fixed records for the tests of what people see."""

from better_claude.contract import Limits, load_contract
from better_claude.model import Mode, Outcome, Source, fnv1a64
from better_claude.store.views import (
    CallSummary,
    HookSummary,
    Percentiles,
    RunningRun,
    SessionSummary,
    StatusSummary,
    StoredRun,
)

MS = 1_000_000
SECOND = 1_000_000_000
MB = 1 << 20
# 2026-11-18T11:06:40Z
NOW = 1_795_000_000_000_000_000
SESSION = "3f2a9c1e-8d1b-4f6e-9d5a-0c2b7e4f1a33"


def key_of(command: str) -> str:
    return f"{fnv1a64(command.encode()):016x}"


def limits_of(record: HookSummary | RunningRun) -> Limits:
    """The built-in contract's limits."""
    return load_contract().hook_limits(record.event, record.key, record.name, record.command)


def hook(
    name: str,
    event: str,
    outcomes: dict[str, int],
    milliseconds: tuple[int, int, int, int],
    *,
    memory_mb: int = 20,
    command: str = "",
) -> HookSummary:
    command = command or f"python3 ~/.claude/hooks/{name}"
    runs = sum(outcomes.values())
    p50, p95, p99, maximum = (value * MS for value in milliseconds)
    return HookSummary(
        key=key_of(command),
        name=name,
        command=command,
        mode=Mode.HOOK,
        event=event,
        source=Source.LAUNCHER,
        runs=runs,
        failures=runs - sum(outcomes.get(o, 0) for o in ("ok", "blocked", "cancelled")),
        outcomes=outcomes,
        wall_ns=Percentiles(p50, p95, p99, maximum),
        wait_ns=runs * p50,
        last_start_ns=NOW - 60 * SECOND,
        exact=True,
        anon_peak_bytes=memory_mb * MB,
        cpu_mean_ns=p50 // 2,
        stdin_bytes=runs * 1024,
        stdout_bytes=runs * 32,
    )


LEAKED = {"ok": 9, "over_memory": 1}
HOOKS = [
    hook("guard.py", "PreToolUse", {"ok": 1190, "blocked": 12, "timeout": 1}, (31, 44, 80, 2010)),
    hook("format.sh", "PostToolUse", {"ok": 800}, (88, 4200, 4800, 4900), memory_mb=44),
    hook("index.py", "Stop", {"ok": 38, "timeout": 2, "error": 1}, (120, 512, 603, 604)),
    hook(
        "leak.py", "UserPromptSubmit", {"ok": 9, "over_memory": 1}, (31, 44, 80, 90), memory_mb=51
    ),
    hook("guard.py", "Stop", {"ok": 3}, (5, 6, 6, 6), memory_mb=2, command="node other/guard.py"),
]


def run(name: str, event: str, outcome: Outcome, wall_ms: int, **changes: object) -> StoredRun:
    command = f"python3 ~/.claude/hooks/{name}"
    fields: dict[str, object] = {
        "run": "0123456789abcdef",
        "start_ns": NOW - wall_ms * MS,
        "wall_ns": wall_ms * MS,
        "mode": Mode.HOOK,
        "key": key_of(command),
        "name": name,
        "command": command,
        "outcome": outcome,
        "session": SESSION,
        "event": event,
        "exit": 0,
        "timeout_ms": 2000,
        "memory_limit_bytes": 50 * MB,
        "user_ns": wall_ms * MS // 4,
        "anon_peak_bytes": 11 * MB,
        "stdin_bytes": 812,
        "stdout_bytes": 12,
        "processes": 2,
        "overhead_ns": 90_000,
    }
    return StoredRun(**{**fields, **changes})  # type: ignore[arg-type]


RUNS = [
    run("guard.py", "PreToolUse", Outcome.BLOCKED, 31, exit=2, tool="Bash"),
    run("index.py", "Stop", Outcome.TIMEOUT, 2004, exit=-1, signal=9),
    run("leak.py", "PreToolUse", Outcome.OVER_MEMORY, 310, exit=-1, anon_peak_bytes=52 * MB),
    run("daemon.sh", "PostToolUse", Outcome.OK, 20, leftovers=1, leftover_names="sleep"),
    run("Bash", "", Outcome.OK, 1203, mode=Mode.TOOL, tool="Bash", timeout_ms=0),
]

SESSIONS = [
    SessionSummary(
        session=SESSION,
        project="/home/u/shop",
        claude_pid=4242,
        client_version="2.1.330",
        first_ns=NOW - 3600 * SECOND,
        last_ns=NOW - SECOND,
        running=1,
        hook_runs=120,
        hook_wait_ns=4200 * MS,
        hook_failures=2,
        history_runs=0,
        tools=CallSummary(31, 1, 812, 4000),
        api=CallSummary(44, 0, 6100, 9000),
        input_tokens=12_345,
        output_tokens=4_321,
        cost_usd=1.234,
        anon_peak_bytes=310 * MB,
        cpu_ns=92 * SECOND,
    ),
    SessionSummary(
        session="77777777-old",
        project="",
        claude_pid=0,
        client_version="",
        first_ns=NOW - 90_000 * SECOND,
        last_ns=NOW - 86_000 * SECOND,
        running=0,
        hook_runs=0,
        hook_wait_ns=0,
        hook_failures=0,
        history_runs=31,
        tools=CallSummary(),
        api=CallSummary(),
    ),
]

RUNNING = (
    RunningRun(
        run="a",
        start_ns=NOW - 190 * SECOND,
        mode=Mode.SERVER,
        key="k",
        name="mcp.py",
        launcher_pid=4243,
        launcher_ticks=1,
        session=SESSION,
    ),
    RunningRun(
        run="b",
        start_ns=NOW - 1900 * MS,
        mode=Mode.HOOK,
        key="k",
        name="index.py",
        launcher_pid=4242,
        launcher_ticks=1,
        session=SESSION,
        event="PreToolUse",
    ),
)

STATUS = StatusSummary(
    now_ns=NOW,
    since_ns=NOW - 86_400 * SECOND,
    recorded=True,
    running=RUNNING,
    runs=3412,
    outcomes={"ok": 3400, "blocked": 9, "timeout": 2, "error": 1},
    sessions=12,
    sessions_active=2,
    slowest=tuple(HOOKS[:2]),
    last_commit_ns=NOW,
    ingest_lag_ns=5 * MS,
    quarantine={"torn": 2, "checksum": 1},
)
