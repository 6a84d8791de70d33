import subprocess
import sys

HEAVY = (
    "asyncio",
    "aiohttp",
    "rich",
    "opentelemetry",
    "better_claude.collect",
    "importlib.metadata",
)


def test_reading_imports_nothing_heavy() -> None:
    script = "import sys, better_claude.store.reader; print(*sys.modules, sep='\\n')"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "better_claude.store.summaries" in loaded
    assert loaded.isdisjoint(HEAVY)
