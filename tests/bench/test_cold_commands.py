"""How long a person waits for `status` and `hooks` with 30 days of 100,000 runs stored.

Whole commands, from fork to exit, each a new process, in turns with a bare interpreter: the floor.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bench.big_store import build
from tests.sandbox import Sandbox, open_sandbox

pytestmark = pytest.mark.bench

ROUNDS = 15
LIMIT_MS = 150.0
PYTHON = [sys.executable, "-P"]
US = [*PYTHON, "-m", "better_claude"]
FLOOR = "python -c pass"
COMMANDS = {
    FLOOR: [*PYTHON, "-c", "pass"],
    "status": [*US, "status"],
    "status --json": [*US, "status", "--json"],
    "hooks": [*US, "hooks"],
    "hooks --json": [*US, "hooks", "--json"],
    "runs": [*US, "runs"],
    "sessions": [*US, "sessions"],
}
LIMITED = ("status", "status --json", "hooks", "hooks --json")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """Yield a state folder with three million runs."""
    with open_sandbox() as box:
        box.paths.create()
        print(f"\n{build(box.paths.store):,} runs,", _megabytes(box.paths.store))
        yield box


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


def once(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """Return wall and CPU milliseconds of one run of ``command``."""
    began = time.perf_counter()
    child = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall_ms = (time.perf_counter() - began) * 1e3
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return wall_ms, (usage.ru_utime + usage.ru_stime) * 1e3


def test_cold_commands(box: Sandbox) -> None:
    environ = box.environ()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(once(command, environ))
    rows = {
        name: {
            "wall_median_ms": statistics.median(wall for wall, _ in taken),
            "wall_max_ms": max(wall for wall, _ in taken),
            "cpu_median_ms": statistics.median(cpu for _, cpu in taken),
        }
        for name, taken in times.items()
    }
    floor = rows[FLOOR]["wall_median_ms"]
    for name, row in rows.items():
        figures = "  ".join(f"{key} {value:7.1f}" for key, value in row.items())
        print(f"  {name:16} {figures}  {row['wall_median_ms'] / floor:5.1f} x bare python")
    print(json.dumps({"bench": "cold commands", "unit": "ms", "rows": rows}))
    assert max(rows[name]["wall_median_ms"] for name in LIMITED) <= LIMIT_MS
