"""Run a test's client in a PID namespace of its own, where the system lets us make one."""

import subprocess
from functools import cache

import pytest


def unshare(*options: str) -> list[str]:
    """Return the words that put a command into one; skip the test where that is not granted."""
    words = ["unshare", "--user", "--map-current-user", "--pid", "--fork", *options]
    if not _works(*words):
        pytest.skip("the system grants us no PID namespace")
    return words


@cache
def _works(*words: str) -> bool:
    try:
        return subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
