"""Where everything of ours lives.

The launcher computes ``state`` and ``spools`` by the same rules (launcher/spool.c);
docs/formats.md states them.
"""

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from better_claude.model import fnv1a64


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders and files of one installation, all below ``state`` but ``contract``."""

    state: Path
    contract: Path
    spools: tuple[Path, Path]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Paths":
        """Read ``BETTER_CLAUDE_STATE``, ``BETTER_CLAUDE_CONTRACT`` and the XDG variables."""
        home = Path(environ.get("HOME") or Path.home()).absolute()
        state = environ.get("BETTER_CLAUDE_STATE") or (
            _base(environ, "XDG_STATE_HOME", home / ".local/state") / "better-claude"
        )
        contract = environ.get("BETTER_CLAUDE_CONTRACT") or (
            _base(environ, "XDG_CONFIG_HOME", home / ".config") / "better-claude/contract.toml"
        )
        # Absolute, because a settings file names the launcher in it for sessions anywhere.
        state = Path(state).absolute()
        return cls(
            state=state,
            contract=Path(contract).absolute(),
            spools=(state / "spool", _second_spool(state)),
        )

    def create(self) -> None:
        """Make the folders that service and launcher write to, for the owner only."""
        for folder in (self.state, self.state / "bin", self.spools[0]):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state.chmod(0o700)

    @property
    def launcher(self) -> Path:
        """The launcher's own copy, which outlives the Python package."""
        return self.state / "bin/launcher"

    @property
    def starter(self) -> Path:
        """The script with which the launcher starts the service on demand."""
        return self.state / "bin/start"

    @property
    def policy(self) -> Path:
        """The file that the launcher reads at every run; replaced atomically."""
        return self.state / "policy"

    @property
    def projects(self) -> Path:
        """The folders of projects whose contracts the policy holds, one a line."""
        return self.state / "projects"

    @property
    def store(self) -> Path:
        """The SQLite database."""
        return self.state / "store.db"

    @property
    def sample_store(self) -> Path:
        """The state folder of the sample session that ``make run`` plays on an empty machine."""
        return self.state / "sample"

    @property
    def service_lock(self) -> Path:
        """Held with ``flock`` by the one running service."""
        return self.state / "service.lock"

    @property
    def service_info(self) -> Path:
        """JSON of the running service: ``pid``, ``port``, ``started_ns``, ``version``."""
        return self.state / "service.json"

    @property
    def service_log(self) -> Path:
        """The service's own log."""
        return self.state / "service.log"

    @property
    def port(self) -> Path:
        """The TCP port that was chosen once for the telemetry receiver on 127.0.0.1."""
        return self.state / "port"

    @property
    def token(self) -> Path:
        """The bearer token of the local API and the telemetry receiver (mode 0600)."""
        return self.state / "token"

    @property
    def installs(self) -> Path:
        """One folder an installed settings file: its original bytes and what was written."""
        return self.state / "installs"


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """Return at most so many bytes of a file; never waits, whatever a repository put there.

    Raises OSError for what is no regular file: opening a pipe, say, would wait for its writer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(most_bytes)


def _base(environ: Mapping[str, str], name: str, otherwise: Path) -> Path:
    """Return a base folder; the XDG specification wants relative ones ignored."""
    named = Path(environ.get(name, ""))
    return named if named.is_absolute() else otherwise


def _second_spool(state: Path) -> Path:
    return Path(f"/tmp/better-claude-{os.getuid()}") / f"{fnv1a64(os.fsencode(state)):016x}"
