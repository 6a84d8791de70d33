"""The folders that one test has for itself."""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from better_claude.paths import Paths


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The folders of one test, with paths short enough for a Unix socket."""

    root: Path

    @property
    def home(self) -> Path:
        """The temporary HOME."""
        return self.root / "home"

    @property
    def state(self) -> Path:
        """The temporary state folder of ours, which the test or the program makes."""
        return self.root / "state"

    @property
    def project(self) -> Path:
        """A working folder for a session."""
        return self.root / "project"

    @property
    def paths(self) -> Paths:
        """Our own files in this sandbox."""
        return Paths.from_environment(self.environ())

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return a whole, clean environment for a child."""
        return {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TMPDIR": tempfile.gettempdir(),
            "BETTER_CLAUDE_STATE": str(self.state),
            **(extra or {}),
        }


@contextmanager
def open_sandbox() -> Iterator[Sandbox]:
    """Make the folders, and remove all of them at the end."""
    # Beside the session's TMPDIR and not in it: a Unix socket's path has 107 bytes.
    box = Sandbox(Path(tempfile.mkdtemp(dir=Path(tempfile.gettempdir()).parent)))
    box.home.mkdir()
    box.project.mkdir()
    try:
        yield box
    finally:
        shutil.rmtree(box.paths.spools[1], ignore_errors=True)
        shutil.rmtree(box.root, ignore_errors=True)
