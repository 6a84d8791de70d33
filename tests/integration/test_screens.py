"""The reading verbs as a person and a pipe meet them: real terminals, real pipes."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

import pytest
from tests.sandbox import Sandbox

from better_claude.model import Mode, Outcome, Run
from better_claude.store.writer import Writer

COMMAND = [sys.executable, "-P", "-m", "better_claude"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def full(sandbox: Sandbox) -> Sandbox:
    """A store with many hooks, one of which was stopped."""
    sandbox.paths.create()
    now = time.time_ns()
    runs = [
        Run(
            run=f"{number:016x}",
            start_ns=now - number * 1_000_000_000,
            wall_ns=number * 1_000_000,
            mode=Mode.HOOK,
            key=f"{number % 40:016x}",
            outcome=Outcome.TIMEOUT if number % 40 == 7 else Outcome.OK,
            command=f"python3 ~/.claude/hooks/a-hook-with-a-long-name-{number % 40}.py --flag",
            session="3f2a9c1e",
            event="UserPromptSubmit",
            anon_peak_bytes=20 << 20,
        )
        for number in range(1, 3000)
    ]
    with Writer.open(sandbox.paths.store) as writer:
        writer.commit(runs)
    return sandbox


def on_terminal(
    box: Sandbox, *words: str, columns: int = 80, keys: str = "", extra: Mapping[str, str] = {}
) -> tuple[int, str]:
    """Run a verb on a terminal of its own and return its exit status and what it showed."""
    environ = {**box.environ(extra), "TERM": "xterm-256color"}
    child, terminal = pty.fork()
    if child == 0:
        os.execve(COMMAND[0], [*COMMAND, *words], environ)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        shown += part
        if keys and b"q leaves" in shown:
            os.write(terminal, keys.encode())
            keys = ""
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


@pytest.mark.parametrize("columns", [40, 80, 140])
@pytest.mark.parametrize("verb", ["hooks", "runs", "sessions"])
def test_no_line_is_broken(full: Sandbox, verb: str, columns: int) -> None:
    status, shown = on_terminal(full, verb, extra={"COLUMNS": str(columns)}, columns=columns)
    assert status == 0
    rows = [ESCAPE.sub("", line) for line in shown.split("\r\n")]
    # A flexible name has a least width; below that a table is wider than any terminal in use.
    assert max(map(len, rows)) <= max(columns, 60)


def test_colour_only_on_terminals_and_only_if_wanted(full: Sandbox) -> None:
    assert "\x1b[31m" in on_terminal(full, "hooks")[1]
    assert "\x1b" not in on_terminal(full, "hooks", extra={"NO_COLOR": "1"})[1]
    piped = subprocess.run(
        [*COMMAND, "hooks"], env=full.environ(), capture_output=True, text=True, check=True
    )
    assert "\x1b" not in piped.stdout


def test_a_pipe_gets_whole_rows(full: Sandbox) -> None:
    environ = full.environ({"COLUMNS": "40"})
    piped = subprocess.run(
        [*COMMAND, "hooks"], env=environ, capture_output=True, text=True, check=True
    )
    head, *rows = piped.stdout.splitlines()
    assert head.split()[-1] == "command"
    assert len(rows) == 40
    assert all(row.endswith(".py --flag") for row in rows)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_error(full: Sandbox, form: list[str]) -> None:
    words = " ".join([*COMMAND, "runs", "--limit", "2900", *form])
    done = subprocess.run(
        ["/bin/bash", "-c", f"{words} | head -1; echo ${{PIPESTATUS[0]}}"],
        env=full.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    first, status = done.stdout.splitlines()
    assert first
    assert status in ("0", "141")
    assert done.stderr == ""


def test_top_is_live_and_leaves_on_q(full: Sandbox) -> None:
    status, shown = on_terminal(full, "top", "--interval", "100ms", keys="q")
    assert status == 0
    assert "\x1b[?1049h" in shown
    # The screen that was there before comes back, and so does the cursor.
    assert shown.rindex("\x1b[?1049l") > shown.rindex("q leaves")
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_top_leaves_on_interrupt(full: Sandbox) -> None:
    status, shown = on_terminal(full, "top", keys="\x03")
    assert status == 130
    assert "Traceback" not in shown
    assert "\x1b[?1049l" in shown


def test_top_on_a_pipe_looks_once(full: Sandbox) -> None:
    done = subprocess.run(
        [*COMMAND, "top"],
        env=full.environ(),
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "Nothing is running." in done.stderr
