"""The real client as people use it: interactive, in a terminal of a private tmux server."""

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.client import API_KEY, Client, find_client
from tests.e2e.ours import wait_until
from tests.sandbox import Sandbox

COLUMNS, ROWS = 140, 45


@dataclass(frozen=True, slots=True)
class Terminal:
    """One pane of a tmux server of our own."""

    socket: Path

    def tmux(self, *arguments: str) -> str:
        """Call tmux on the private socket."""
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), "-f", "/dev/null", *arguments],
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "TERM": "xterm-256color",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def screen(self) -> str:
        """Return what the user sees."""
        return self.tmux("capture-pane", "-p", "-t", "session")

    def type(self, text: str) -> None:
        """Type a line and press Enter."""
        self.tmux("send-keys", "-t", "session", "-l", text)
        self.tmux("send-keys", "-t", "session", "Enter")

    def shows(self, text: str, timeout_s: float = 20) -> bool:
        """Wait until ``text`` is on the screen."""
        return wait_until(lambda: text in self.screen(), timeout_s)

    def ended(self, timeout_s: float = 20) -> bool:
        """Wait until the client has ended, which ends the pane."""
        return wait_until(lambda: "session" not in self._sessions(), timeout_s)

    def _sessions(self) -> list[str]:
        try:
            return self.tmux("list-sessions", "-F", "#{session_name}").split()
        except subprocess.CalledProcessError:
            return []


@contextmanager
def interactive(
    client: Client,
    *,
    through: Sequence[str] = (),
    options: Sequence[str] = ("--allowedTools", "Bash"),
    extra: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Start the client in a terminal, past all its first questions; end it with the block."""
    welcome(client.sandbox)
    terminal = Terminal(client.sandbox.root / "tmux")
    environ = client.environ({"TERM": "xterm-256color", **(extra or {})})
    command = [*through, str(find_client()), *options]
    terminal.tmux(
        *("new-session", "-d", "-s", "session", "-x", str(COLUMNS), "-y", str(ROWS)),
        *("-c", str(client.sandbox.project)),
        # The server's own environment is not the client's: only what is named here is.
        shlex.join(
            ["env", "-i", *(f"{name}={value}" for name, value in environ.items()), *command]
        ),
    )
    try:
        yield terminal
    finally:
        if terminal._sessions():
            terminal.tmux("kill-server")


def welcome(sandbox: Sandbox) -> None:
    """Answer beforehand what the client asks at its first start."""
    (sandbox.home / ".claude.json").write_text(
        json.dumps(
            {
                "hasCompletedOnboarding": True,
                "theme": "dark",
                "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
                "projects": {str(sandbox.project): {"hasTrustDialogAccepted": True}},
            }
        )
    )
