"""What install says of the past, and what to write for the future."""

from pathlib import Path

from better_claude.commands.forecast import tell_forecast
from better_claude.model import Enforcement, Source
from better_claude.paths import Paths
from better_claude.store.views import Percentiles, StopForecast

PATHS = Paths.from_environment({"HOME": "/home/me"})
SECOND = 1_000_000_000
MB = 1 << 20


def forecast(
    name: str, over_time: int = 0, over_memory: int = 0, mode: Enforcement = Enforcement.ENFORCE
) -> StopForecast:
    return StopForecast(
        key="0" * 16,
        name=name,
        command=f"python3 {name}",
        event="PreToolUse",
        source=Source.LAUNCHER,
        runs=40,
        over_time=over_time,
        over_memory=over_memory,
        timeout_ms=2000,
        memory_bytes=50 * MB,
        enforcement=mode,
        wall_ns=Percentiles(SECOND, 2 * SECOND, 3 * SECOND, 4 * SECOND),
        anon_peak_bytes=80 * MB,
    )


def test_no_history() -> None:
    nothings: tuple[list[StopForecast] | None, ...] = (None, [])
    for nothing in nothings:
        lines = list(tell_forecast(nothing, ["true"], PATHS))
        assert "no history" in lines[0]
        assert any("import" in line for line in lines)


def test_what_would_have_been_stopped_and_how_to_allow_it() -> None:
    found = [forecast("slow.py", over_time=3), forecast("big.py", over_memory=2), forecast("ok.py")]
    lines = list(tell_forecast(found, ["python3 slow.py", "node new.js"], PATHS))
    assert lines[0] == "Of 120 runs in 30 days the limits would have stopped:"
    assert lines[1] == "  slow.py  PreToolUse  40 runs: 3 over 2 s (longest 4 s)"
    assert lines[2] == "  big.py  PreToolUse  40 runs: 2 over 50 MB (most 80 MB)"
    assert str(Path("/home/me/.config/better-claude/contract.toml")) in lines[3]
    assert lines[4:6] == ['  [hook."slow.py"]', '  timeout = "5s"']
    assert lines[-1] == "Hooks without history: new.js"


def test_memory_gets_a_memory_limit() -> None:
    lines = list(tell_forecast([forecast("big.py", over_memory=1)], [], PATHS))
    assert '  memory = "120MB"' in lines
    assert not any(line.startswith("  timeout") for line in lines)


def test_nothing_to_stop_and_observed_only() -> None:
    (line,) = tell_forecast([forecast("ok.py")], [], PATHS)
    assert line == "Of 40 runs in 30 days the limits would have stopped none."
    found = [forecast("slow.py", over_time=1, mode=Enforcement.OBSERVE)]
    assert "(observed only)" in list(tell_forecast(found, [], PATHS))[1]
