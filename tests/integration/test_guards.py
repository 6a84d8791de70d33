"""The guards of tests/conftest.py themselves: each of them can fail."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.sandbox import Sandbox

REPOSITORY = Path(__file__).parents[2]

HARMLESS = """
from pathlib import Path

def test_harmless(sandbox):
    (sandbox.home / ".claude").mkdir()
    (Path.home() / ".claude").mkdir()
"""
LEAKING = """
import subprocess

kept = []

def test_leaking(sandbox):
    kept.append(subprocess.Popen(["sleep", "60"], env=sandbox.environ()))
"""
REACHING = """
def test_reaching():
    open({real!r} + "/.claude/settings.json", "w")
"""
MAKING = """
import subprocess

def test_making():
    subprocess.run(["mkdir", {real!r} + "/.claude"], check=True)
"""


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        (HARMLESS, 0, "1 passed"),
        (LEAKING, 1, "the test left processes running"),
        (REACHING, 1, "reached for the user's own files"),
        (MAKING, 1, "the tests made"),
    ],
    ids=["harmless", "leaking", "reaching", "making"],
)
def test_a_guard_catches(sandbox: Sandbox, text: str, status: int, said: str) -> None:
    module = sandbox.root / "integration/test_subject.py"
    module.parent.mkdir()
    module.write_text(text.replace("{real!r}", repr(str(sandbox.home))))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-p",
            "no:cacheprovider",
            str(module),
        ],
        cwd=sandbox.root,
        env=sandbox.environ({"PYTHONPATH": str(REPOSITORY), "TMPDIR": "/tmp"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
