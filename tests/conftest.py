"""What every suite stands on: a home of its own, and no process left behind.

The whole test session runs with a temporary HOME, temporary folder and state folder, so that
neither a test nor a child of one finds the user's. What would get at them all the same fails.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox import Sandbox, open_sandbox

from better_claude.paths import Paths

# What belongs to the user: the client's folders and ours. Taken before HOME is replaced.
_REAL_HOME = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home() raises without a user)
_REAL_STATE = Paths.from_environment(os.environ).state
FORBIDDEN = (
    _REAL_HOME / ".claude",
    _REAL_HOME / ".claude.json",
    _REAL_HOME / ".local/state/better-claude",
    _REAL_HOME / ".config/better-claude",
    _REAL_STATE,
)
# Variables that would make a test depend on who runs it.
_PERSONAL = ("BETTER_CLAUDE_", "CLAUDE", "ANTHROPIC_", "OTEL_", "XDG_")
_KEPT = ("BETTER_CLAUDE_CLIENT", "BETTER_CLAUDE_FUZZ_INPUTS")
_ENDING_S = 3.0
_CACHE = Path(__file__).parents[1] / ".cache"


def pytest_configure(config: pytest.Config) -> None:
    """Move the session to a temporary home before any test module is imported."""
    root = Path(tempfile.mkdtemp(prefix="bc", dir="/tmp"))
    config.stash[_ROOT] = root
    config.stash[_BEFORE] = _existing()
    for name in list(os.environ):
        if name.startswith(_PERSONAL) and name not in _KEPT:
            del os.environ[name]
    for name, folder in (("HOME", "home"), ("TMPDIR", "tmp"), ("BETTER_CLAUDE_STATE", "state")):
        (root / folder).mkdir()
        os.environ[name] = str(root / folder)
    # A temporary HOME would make the launcher's toolchain compile musl anew for every build.
    os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(_CACHE / "zig"))
    tempfile.tempdir = None
    sys.addaudithook(_refuse_the_users_files)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary home."""
    shutil.rmtree(config.stash[_ROOT], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the whole session if a child made what only the user may have made."""
    before = session.config.stash[_BEFORE]
    made = _existing() - before
    if made:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nERROR: the tests made {', '.join(sorted(made))}", file=sys.stderr)


_ROOT = pytest.StashKey[Path]()
_BEFORE = pytest.StashKey[frozenset[str]]()


def _existing() -> frozenset[str]:
    return frozenset(str(path) for path in FORBIDDEN if os.path.lexists(path))


def _refuse_the_users_files(event: str, args: tuple[object, ...]) -> None:
    if event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.listdir", "sqlite3.connect"):
        return
    for path in args[:2]:
        if isinstance(path, str | bytes | os.PathLike) and _is_the_users(os.fsdecode(path)):
            raise AssertionError(f"a test reached for the user's own files: {event} {path!r}")


def _is_the_users(path: str) -> bool:
    return any(path == str(user) or path.startswith(f"{user}/") for user in FORBIDDEN)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Yield a home, a state folder and a project of the test's own; nothing of them stays."""
    with open_sandbox() as box:
        yield box


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an integration or end-to-end test that leaves a process of its state folder running.

    Processes of fixtures that live longer than the test were there before it, and are not meant.
    """
    if not {"integration", "e2e", "bench"} & set(request.path.parts):
        yield
        return
    root = str(request.config.stash[_ROOT])
    before = {pid for pid, _ in _processes(root)}
    yield
    deadline = time.monotonic() + _ENDING_S
    while left := [(pid, name) for pid, name in _processes(root) if pid not in before]:
        if time.monotonic() > deadline:
            for pid, _ in left:
                _end(pid)
            pytest.fail(f"the test left processes running: {left}")
        time.sleep(0.02)


def _processes(root: str) -> Iterator[tuple[int, str]]:
    """Yield (process id, command line) of what runs with a state folder below ``root``."""
    sign = f"\0BETTER_CLAUDE_STATE={root}/".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or folder.name == str(os.getpid()):
            continue
        try:
            environ = b"\0" + (folder / "environ").read_bytes()
            if sign in environ:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                yield int(folder.name), os.fsdecode(command)[:200]
        except (OSError, ProcessLookupError):
            continue


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
