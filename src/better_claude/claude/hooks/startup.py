"""What the start of an interpreter alone costs, measured by letting it do nothing."""

import shutil
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from better_claude.claude.hooks.programs import NO_OPERATION

_RUNS = 3
_LONGEST_S = 5.0


def measure_starts(names: Iterable[str], project: Path) -> dict[str, int]:
    """Return each interpreter's start in ns, the median of three; without those that cannot run.

    An interpreter that lies in the project is not started: a cloned repository is untrusted. Each
    runs for five seconds at most, in the root folder, so that nothing of a repository is loaded.
    """
    measured = {}
    for name in sorted(set(names)):
        program = _outside(name, project)
        if program:
            measured[name] = _median([program, *NO_OPERATION[name]])
    return {name: cost for name, cost in measured.items() if cost}


def _outside(name: str, project: Path) -> str:
    found = shutil.which(name) or (shutil.which("python3") if name == "python" else None)
    if found is None or not Path(found).is_absolute():
        return ""
    return "" if Path(found).resolve().is_relative_to(project.resolve()) else found


def _median(words: list[str]) -> int:
    costs: list[int] = []
    for _ in range(_RUNS):
        started_ns = time.monotonic_ns()
        try:
            subprocess.run(
                words,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_LONGEST_S,
                check=True,
            )
        except subprocess.TimeoutExpired:
            return time.monotonic_ns() - started_ns
        except (OSError, subprocess.CalledProcessError):
            return 0
        costs.append(time.monotonic_ns() - started_ns)
    return round(statistics.median(costs))
