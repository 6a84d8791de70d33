"""A systemd user unit for the service, where systemd is there and the user asks for it."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from better_claude.act.policy import replace_file
from better_claude.errors import ServiceError
from better_claude.paths import Paths
from better_claude.service.cgroups import LEAF
from better_claude.service.start import service_command

UNIT = "better-claude.service"
_TIMEOUT_S = 20.0
# A subtree for the hooks' cgroups, with the service in a leaf beside them: a cgroup with a subtree
# takes no processes, so without a leaf (systemd before 254) the service could not be started again
# while a hook runs. Stopping the service ends the service alone, never the hooks.
_CGROUPS = f"Delegate=memory\nDelegateSubgroup={LEAF}\nKillMode=process\n"


def unit_path(environ: Mapping[str, str]) -> Path:
    """Return where the user's units stand."""
    home = environ.get("HOME") or str(Path.home())
    config_home = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return Path(config_home) / "systemd/user" / UNIT


def unit_text(paths: Paths) -> str:
    """Return the unit: restarted when it crashes, not when it was stopped."""
    command = " ".join(_quoted(word) for word in service_command())
    state = _quoted(f"BETTER_CLAUDE_STATE={paths.state.absolute()}")
    contract = _quoted(f"BETTER_CLAUDE_CONTRACT={paths.contract.absolute()}")
    return (
        "[Unit]\n"
        "Description=better-claude: measures and limits what Claude Code starts\n"
        "\n"
        "[Service]\n"
        f"ExecStart={command}\n"
        f"Environment={state} {contract}\n"
        "Restart=on-failure\n"
        "RestartSec=1\n"
        f"{_CGROUPS}"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n"
    )


def enable_unit(paths: Paths, environ: Mapping[str, str]) -> Path:
    """Write the unit, enable it and start it; return where it stands. Raises ServiceError."""
    path = unit_path(environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, unit_text(paths).encode())
    except OSError as error:
        raise ServiceError(
            "systemd", f"{path} cannot be written: {error.strerror or error}", _INSTEAD
        ) from error
    _systemctl("daemon-reload")
    _systemctl("enable", UNIT)
    _systemctl("restart", UNIT)
    return path


def disable_unit(environ: Mapping[str, str]) -> bool:
    """Stop and remove the unit; tell whether there was one. Raises ServiceError."""
    path = unit_path(environ)
    if not path.exists():
        return False
    _systemctl("disable", "--now", UNIT)
    path.unlink()
    _systemctl("daemon-reload")
    return True


_INSTEAD = "Start the service without systemd: better-claude up"


def _systemctl(*arguments: str) -> None:
    program = shutil.which("systemctl")
    if program is None:
        raise ServiceError("systemd", "this machine has no systemctl", _INSTEAD)
    try:
        done = subprocess.run(
            [program, "--user", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError("systemd", f"systemctl does not answer: {error}", _INSTEAD) from error
    if done.returncode != 0:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise ServiceError("systemd", f"systemctl --user {arguments[0]}: {said}", _INSTEAD)


def _quoted(word: str) -> str:
    """Quote one word as systemd.syntax(7) reads it; ``%`` and ``$`` mean something to it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
