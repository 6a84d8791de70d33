"""The compiled launcher: where it is, and how it gets to a place of its own.

Claude Code is given the copy in the state folder, so that removing or upgrading the Python
package never leaves a session with a prefix that does not exist.
"""

import os
import shlex
import sys
import tempfile
from importlib import resources
from pathlib import Path

from better_claude.errors import BetterClaudeError
from better_claude.paths import Paths


def built_launcher() -> Path:
    """Return the launcher that this package was built with.

    Raises BetterClaudeError (``launcher-missing``) where the build made none.
    """
    path = Path(str(resources.files("better_claude"))) / "_launcher/launcher"
    if not os.access(path, os.X_OK):
        raise BetterClaudeError(
            "launcher-missing",
            f"The compiled launcher is not at {path}",
            "Reinstall the package, or in a source tree run: python hatch_build.py",
        )
    return path


def install_launcher(paths: Paths) -> Path:
    """Put launcher and starter into ``<state>/bin`` and return the launcher's path.

    A copy that is in use is replaced, never overwritten; one that is the same is left alone.
    Raises BetterClaudeError (``launcher-missing``) and OSError.
    """
    source = built_launcher().read_bytes()
    paths.create()
    _replace(paths.launcher, source)
    _replace(paths.starter, _starter().encode())
    return paths.launcher


def _starter() -> str:
    """Return the script with which the launcher starts the service."""
    command = shlex.join([sys.executable, "-m", "better_claude", "up", "--quiet"])
    # The package may be importable only by a path that this process was given.
    root = shlex.quote(str(Path(str(resources.files("better_claude"))).parent))
    path = f'PYTHONPATH={root}"${{PYTHONPATH:+:$PYTHONPATH}}"'
    return f"#!/bin/sh\n# Starts the service; called by the launcher.\n{path} exec {command}\n"


def _replace(target: Path, content: bytes) -> None:
    """Write ``content`` to an executable file, atomically, unless it is there already."""
    if _is_installed(target, content):
        return
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _is_installed(target: Path, content: bytes) -> bool:
    try:
        return os.access(target, os.X_OK) and target.read_bytes() == content
    except OSError:
        return False
