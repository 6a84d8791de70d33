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
    write_starter(paths)
    return paths.launcher


def write_starter(paths: Paths) -> None:
    """Write the script with which the launcher starts the service on demand; raises OSError."""
    _replace(paths.starter, _starter(paths).encode())


def _starter(paths: Paths) -> str:
    # With -P and in / no repository's folder says what is imported. The package's own folder
    # stands in place of an inherited PYTHONPATH: it may be importable by such a path only.
    command = shlex.join([sys.executable, "-P", "-m", "better_claude", "up", "--quiet"])
    root = Path(str(resources.files("better_claude"))).parent
    return (
        "#!/bin/sh\n"
        "# Starts the better-claude service when a session finds it down.\n"
        "cd / || exit 0\n"
        f"export PYTHONPATH={shlex.quote(str(root))}\n"
        f"export BETTER_CLAUDE_STATE={shlex.quote(str(paths.state.absolute()))}\n"
        f"export BETTER_CLAUDE_CONTRACT={shlex.quote(str(paths.contract.absolute()))}\n"
        "unset BETTER_CLAUDE_RUN\n"
        f"exec {command} </dev/null >/dev/null 2>&1\n"
    )


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
