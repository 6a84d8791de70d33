"""Call better-claude as a user does, in a sandbox, and read what it tells."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.client import HookView
from tests.sandbox import Sandbox

Json = dict[str, Any]

PROGRAM = (sys.executable, "-P", "-m", "better_claude")
RUN = (*PROGRAM, "run", "--")
# How the client shows what ended a run: its outcome and the exit code.
_STOPPED = {"timeout": ("error", 124), "over_memory": ("error", 125), "cancelled": ("cancelled", 1)}


@dataclass(frozen=True, slots=True)
class Ours:
    """The program in a sandbox, and the service that it starts there."""

    sandbox: Sandbox

    def call(self, *arguments: str, timeout_s: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run one verb and return how it ended."""
        return subprocess.run(
            [*PROGRAM, *arguments],
            cwd=self.sandbox.project,
            env=self.sandbox.environ(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def ok(self, *arguments: str) -> str:
        """Run one verb that must succeed, and return its output."""
        done = self.call(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{done.stdout}"
        return done.stdout

    def rows(self, *arguments: str) -> list[Json]:
        """Return the JSON Lines of one verb."""
        return [json.loads(line) for line in self.ok(*arguments, "--json").splitlines()]

    def runs(self, session: str) -> list[Json]:
        """Return the finished runs of a session, oldest first."""
        rows = self.rows("runs", "--session", session, "--limit", "1000")
        return sorted(
            (row for row in rows if row["kind"] == "run"), key=lambda row: int(row["start_ns"])
        )

    def service_pid(self) -> int:
        """Return the running service's process id, 0 if there is none."""
        with suppress(OSError, ValueError):
            pid = int(json.loads(self.sandbox.paths.service_info.read_bytes())["pid"])
            os.kill(pid, 0)
            return pid
        return 0

    def spool_ends(self, session: str) -> list[Json]:
        """Return the ends that a session has in the spool, whatever the service did with them."""
        ends = []
        for file in sorted(self.sandbox.paths.spools[0].glob("*.spool")):
            for line in file.read_bytes().splitlines():
                if line:
                    record = json.loads(line.partition(b"\t")[0])
                    if record["kind"] == "end" and record.get("session") == session:
                        ends.append(record)
        return ends

    def close(self) -> None:
        """Stop the service; one that does not stop is ended by its id."""
        pid = self.service_pid()
        self.call("down")
        with suppress(ProcessLookupError):
            if pid:
                wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5)
                os.kill(pid, signal.SIGKILL)


@contextmanager
def opened(sandbox: Sandbox) -> Iterator[Ours]:
    """Yield the program for a sandbox, and stop its service at the end."""
    ours = Ours(sandbox)
    try:
        yield ours
    finally:
        ours.close()


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Look every 10 ms until ``condition`` holds; return whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def as_client_sees(run: Json) -> tuple[str, str, int]:
    """Return (event, outcome, exit code) of one of our runs in the client's words."""
    outcome, code = _STOPPED.get(
        run["outcome"], ("success" if run["exit"] == 0 else "error", run["exit"])
    )
    return run["event"], outcome, code


def client_view(hook: HookView) -> tuple[str, str, int]:
    """Return (event, outcome, exit code) as the client told them."""
    return hook.event, hook.outcome, hook.exit_code
