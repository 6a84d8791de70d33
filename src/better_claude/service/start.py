"""Start the service in the background, and stop it."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from better_claude.collect import proc
from better_claude.errors import ServiceError
from better_claude.launcher import write_starter
from better_claude.paths import Paths
from better_claude.service.lock import lock_owner, turn
from better_claude.service.state import ServiceState, service_state

_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 10.0
_PAUSE_S = 0.01
# What the service may know of the environment of whoever starts it, which may be a hook that holds
# the client's secrets. BETTER_CLAUDE_RUN is left out too: the service is no part of a run.
_KEPT = frozenset(
    {
        "BETTER_CLAUDE_CONTRACT",
        "BETTER_CLAUDE_STATE",
        "CLAUDE_CONFIG_DIR",
        "HOME",
        "LANG",
        "LC_ALL",
        "LOGNAME",
        "PATH",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
    }
)


def start_service(paths: Paths) -> ServiceState:
    """Start the service unless it runs, and return its state as soon as it answers.

    However many call this at once, one service is started. Raises ServiceError, with the end of
    the service's log, if it does not come up.
    """
    try:
        paths.create()
        write_starter(paths)
        with turn(paths.state / "start.lock"):
            state = service_state(paths)
            if state.answering:
                return state
            process = None if state.running else _spawn(paths)
            return _wait_until_ready(paths, process)
    except OSError as error:
        raise ServiceError(
            "state-folder",
            f"the state folder {paths.state} cannot be used: {error.strerror or error}",
            "Give it to yourself, make room, or name another one in BETTER_CLAUDE_STATE.",
        ) from error


def stop_service(paths: Paths) -> bool:
    """Stop the service and wait until it is gone; tell whether there was one.

    It drains the spool first. What does not end within ten seconds is ended by SIGKILL, which
    loses nothing: the rest is read at the next start. Raises ServiceError if it may not be stopped.
    """
    owner = lock_owner(paths.service_lock)
    if owner is None:
        return False
    try:
        process = os.pidfd_open(owner.pid)
    except (OSError, ValueError):
        process = -1
    # The lock says that its owner lives, so the pid written into it cannot have been given away.
    known = process >= 0 and proc.is_running(owner.pid, owner.ticks)
    if not known or lock_owner(paths.service_lock) != owner:
        if _until(lambda: lock_owner(paths.service_lock) is None, 1.0):
            return True
        raise ServiceError(
            "service-unknown",
            f"a process holds {paths.service_lock}, but which one is not known",
            f"Find it with: fuser {shlex.quote(str(paths.service_lock))}",
        )
    try:
        _end(paths, process)
    finally:
        os.close(process)
    return True


def service_command() -> list[str]:
    """Return the command line that runs the service in the foreground."""
    return [sys.executable, "-P", "-m", "better_claude", "serve"]


def _spawn(paths: Paths) -> "subprocess.Popen[bytes]":
    environment = {name: value for name, value in os.environ.items() if name in _KEPT}
    environment["PYTHONPATH"] = str(Path(str(resources.files("better_claude"))).parent)
    environment["BETTER_CLAUDE_STATE"] = str(paths.state.absolute())
    environment["BETTER_CLAUDE_CONTRACT"] = str(paths.contract.absolute())
    paths.service_log.touch(mode=0o600)
    with paths.service_log.open("ab") as log:
        return subprocess.Popen(
            [*service_command(), "--background"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
        )


def _wait_until_ready(paths: Paths, process: "subprocess.Popen[bytes] | None") -> ServiceState:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        state = service_state(paths)
        if state.answering:
            if process is not None:
                # It outlives us; nobody will ask for its exit status.
                process.returncode = 0
            return state
        if process is not None and process.poll() is not None:
            if lock_owner(paths.service_lock) is None:
                break
            process = None
        time.sleep(_PAUSE_S)
    raise ServiceError(
        "service-start",
        f"the service did not come up:\n{_end_of(paths.service_log)}",
        f"Read {paths.service_log}, or run: better-claude serve",
    )


def _end(paths: Paths, process: int) -> None:
    for number, patience_s in ((signal.SIGTERM, _STOP_TIMEOUT_S), (signal.SIGKILL, 2.0)):
        try:
            signal.pidfd_send_signal(process, number)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise ServiceError(
                "service-foreign", "the service belongs to another user", "Stop it as that user."
            ) from error
        if _until(lambda: lock_owner(paths.service_lock) is None, patience_s):
            return
    raise ServiceError("service-stop", "the service does not end", "Look at it with: ps, strace")


def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE_S)
    return True


def _end_of(log: Path) -> str:
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return "\n".join(f"  {line[:300]}" for line in lines[-5:]) or "  (its log is empty)"
