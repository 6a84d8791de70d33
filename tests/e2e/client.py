"""Drive the real Claude Code client, offline and in a home of its own, in print mode."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.messages_api import MessagesApi
from tests.sandbox import Sandbox

API_KEY = "dummy-key-for-a-scripted-server-0000"
_CACHE = Path(__file__).parents[2] / ".cache/client"

Json = dict[str, Any]


def find_client() -> Path:
    """Return the pinned client's binary; the test fails where `make test` did not install it."""
    folder = Path(os.environ.get("BETTER_CLAUDE_CLIENT", _CACHE))
    found = sorted(folder.glob("node_modules/@anthropic-ai/claude-code-*/claude"))
    if not found:
        pytest.fail(f"no client below {folder}: `make test` installs it")
    return found[0]


@dataclass(frozen=True, slots=True)
class HookView:
    """One hook run as the client itself tells it."""

    name: str
    event: str
    exit_code: int
    stdout: str
    stderr: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Session:
    """What a print-mode session left: its exit code, its JSON rows and its standard error."""

    returncode: int
    rows: list[Json]
    stderr: str

    @property
    def ident(self) -> str:
        """The session id."""
        return next(str(row["session_id"]) for row in self.rows if row.get("session_id"))

    @property
    def hooks(self) -> list[HookView]:
        """Every hook response, in the order of their ends. SessionEnd comes too late for it."""
        return [
            HookView(
                name=row["hook_name"],
                event=row["hook_event"],
                exit_code=row["exit_code"],
                stdout=row["stdout"],
                stderr=row["stderr"],
                outcome=row["outcome"],
            )
            for row in self.rows
            if row.get("subtype") == "hook_response"
        ]

    @property
    def answer(self) -> str:
        """The text that the session ended with."""
        return str(next(row["result"] for row in reversed(self.rows) if row["type"] == "result"))

    def of_event(self, event: str) -> list[HookView]:
        """Return the hook responses of one event."""
        return [hook for hook in self.hooks if hook.event == event]


@dataclass(frozen=True, slots=True)
class Client:
    """The real client in a sandbox, talking to a scripted Messages API."""

    sandbox: Sandbox
    api: MessagesApi

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return a clean environment in which nothing leaves the machine."""
        return self.sandbox.environ(
            {
                "ANTHROPIC_BASE_URL": self.api.url,
                "ANTHROPIC_API_KEY": API_KEY,
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                "DISABLE_AUTOUPDATER": "1",
                **(extra or {}),
            }
        )

    def command(self, prompt: str, options: Sequence[str] = ()) -> list[str]:
        """Return the command line of a print-mode session that tells of its hooks."""
        return [
            str(find_client()),
            *("-p", prompt, "--output-format", "stream-json"),
            *("--verbose", "--include-hook-events"),
            *options,
        ]

    def start(
        self,
        prompt: str = "do what the script says",
        *,
        through: Sequence[str] = (),
        options: Sequence[str] = ("--allowedTools", "Bash"),
        extra: Mapping[str, str] | None = None,
    ) -> "subprocess.Popen[str]":
        """Start a session, put behind ``through`` (like ``better-claude run --``)."""
        return subprocess.Popen(
            [*through, *self.command(prompt, options)],
            cwd=self.sandbox.project,
            env=self.environ(extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        prompt: str = "do what the script says",
        *,
        through: Sequence[str] = (),
        options: Sequence[str] = ("--allowedTools", "Bash"),
        extra: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Session:
        """Run a whole session and return what it left."""
        process = self.start(prompt, through=through, options=options, extra=extra)
        return finish(process, timeout_s)


def finish(process: "subprocess.Popen[str]", timeout_s: float = 60) -> Session:
    """Wait for a started session; one that does not end is killed and fails the test."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        pytest.fail(f"the session did not end within {timeout_s} s\n{stdout[-2000:]}\n{stderr}")
    rows = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    return Session(process.returncode, rows, stderr)
