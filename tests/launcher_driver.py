"""Run the launcher exactly as the client does, and read what it wrote.

The calling process plays the client: it is the parent of ``/bin/sh -c "<launcher> '<command>'"``,
names itself in ``CLAUDE_PID``, makes the shell a session leader, and gives it three socket pairs.
As the client does, it takes a run for ended when the process exits, whoever holds its streams.
"""

import hashlib
import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import hatch_build
import msgspec

from better_claude.model import Run, RunStart, fnv1a64

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "launcher"
CACHE = ROOT / ".cache/tests"
SESSION = "7543064f-a2b8-43ab-99a3-663f48e949c1"
PROMPT = "d20a970b-07e5-4792-921e-8f00b52c142c"
TOOL_USE = "toolu_0000"
# Stands in tool inputs, prompts and the environment; must never reach the spool.
SECRET = "swordfish-4711"
PATH = "/usr/local/bin:/usr/bin:/bin"
RUN_VARIABLE = "BETTER_CLAUDE_RUN"
WAIT_SECONDS = 30.0

_DECODER = msgspec.json.Decoder(RunStart | Run)


@dataclass(frozen=True, slots=True)
class Finished:
    """What the client saw of one run. ``status`` is negative for a signal, as in subprocess."""

    status: int
    stdout: bytes
    stderr: bytes
    wall_ns: int


@dataclass(frozen=True, slots=True)
class Spool:
    """Every record of a spool folder in the order of the files, and the lines that are none."""

    records: tuple[RunStart | Run, ...]
    foreign: tuple[bytes, ...]

    @property
    def starts(self) -> tuple[RunStart, ...]:
        return tuple(record for record in self.records if isinstance(record, RunStart))

    @property
    def ends(self) -> tuple[Run, ...]:
        return tuple(record for record in self.records if isinstance(record, Run))


@dataclass(slots=True)
class Running:
    """A process that was started and whose streams the client still holds."""

    process: subprocess.Popen[bytes]
    started_ns: int
    stdin: socket.socket | None = None
    stdout: socket.socket | None = None
    stderr: socket.socket | None = None
    output: dict[str, bytearray] = field(
        default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()}
    )

    def __enter__(self) -> "Running":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def cancel(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to the whole group, as the client does on its own timeout."""
        os.killpg(self.process.pid, number)

    def finish(self, stdin: bytes = b"", timeout: float = WAIT_SECONDS) -> Finished:
        """Feed ``stdin``, then end of file, and collect the streams until the process exits."""
        _Conversation(self, stdin).run(timeout)
        status = self.process.wait()
        return Finished(
            status=status,
            stdout=bytes(self.output["stdout"]),
            stderr=bytes(self.output["stderr"]),
            wall_ns=time.monotonic_ns() - self.started_ns,
        )


class _Conversation:
    """The client's side of the three streams, until the process exits."""

    def __init__(self, running: Running, stdin: bytes) -> None:
        self.running = running
        self.unsent = memoryview(stdin)
        self.exited = os.pidfd_open(running.process.pid)
        self.poll = select.poll()
        self.poll.register(self.exited, select.POLLIN)
        self.readers: dict[int, tuple[str, socket.socket]] = {}
        for name in ("stdout", "stderr"):
            stream: socket.socket | None = getattr(running, name)
            if stream is not None:
                stream.setblocking(False)
                self.readers[stream.fileno()] = (name, stream)
                self.poll.register(stream, select.POLLIN)
        self.input = running.stdin.fileno() if running.stdin else -1
        if running.stdin:
            running.stdin.setblocking(False)
            self.poll.register(running.stdin, select.POLLOUT)

    def run(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        try:
            while not self._step(deadline):
                pass
        finally:
            os.close(self.exited)
        for descriptor in list(self.readers):
            while descriptor in self.readers and self._read(descriptor):
                pass

    def _step(self, deadline: float) -> bool:
        ready = self.poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if not ready:
            raise TimeoutError(f"process {self.running.process.pid} did not exit")
        for descriptor, _ in ready:
            if descriptor == self.input:
                self._write()
            elif descriptor in self.readers:
                self._read(descriptor)
        return any(descriptor == self.exited for descriptor, _ in ready)

    def _write(self) -> None:
        stream = self.running.stdin
        assert stream is not None
        try:
            self.unsent = self.unsent[stream.send(self.unsent[:65536]) :] if self.unsent else b""  # type: ignore[assignment]
        except BlockingIOError:
            return
        except OSError:
            self.unsent = memoryview(b"")
        if not self.unsent:
            self.poll.unregister(self.input)
            self.input = -1
            stream.close()
            self.running.stdin = None

    def _read(self, descriptor: int) -> bool:
        name, stream = self.readers[descriptor]
        try:
            data = stream.recv(1 << 18)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(descriptor)
            del self.readers[descriptor]
        self.running.output[name] += data
        return bool(data)


@dataclass(frozen=True, slots=True)
class Client:
    """A client with one session, a project folder and a state folder of ours.

    ``shell`` is what the client starts hooks with, ``launcher`` a built binary, which is copied
    into the state folder as ``install`` does. ``checker`` is a command line that runs the launcher,
    such as valgrind's.
    """

    state: Path
    project: Path
    launcher: Path
    shell: str = "/bin/sh"
    session: str = SESSION
    checker: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return str(self.state / "bin/launcher")

    def install(self) -> "Client":
        """Make the folders and copy the launcher to where it lives."""
        for folder in (self.state, self.state / "bin", self.state / "spool"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.project.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.launcher, self.prefix)
        self.write_policy()
        return self

    def write_policy(self, *statements: str, grace_ms: int = 100) -> None:
        """Publish a policy with ``statements``; the service is never started by these tests."""
        write_policy(self.state / "policy", f"global grace_ms={grace_ms} autostart=0", *statements)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a hook; give a name the value "" to leave it out."""
        values = {
            "HOME": str(self.state.parent / "home"),
            "PATH": PATH,
            "SHELL": "/bin/bash",
            "SHLVL": "1",
            "PWD": str(self.project),
            "_": "/usr/bin/env",
            "LANG": "C.UTF-8",
            "CLAUDECODE": "1",
            "CLAUDE_CODE_CHILD_SESSION": "1",
            "CLAUDE_CODE_MESSAGING_TOKEN": SECRET,
            "CLAUDE_CODE_SESSION_ID": self.session,
            "CLAUDE_CODE_SHELL_PREFIX": self.prefix,
            "CLAUDE_PID": str(os.getpid()),
            "CLAUDE_PROJECT_DIR": str(self.project),
            "BETTER_CLAUDE_STATE": str(self.state),
            **self.extra,
            **more,
        }
        return {name: value for name, value in values.items() if value}

    def hook_argv(self, command: str | bytes) -> list[str | bytes]:
        """Return ``sh -c "<launcher> '<command>'"`` as the client quotes it."""
        line = os.fsencode(f"{self.checker} {shlex.quote(self.prefix)} ".lstrip()) + quote(command)
        return [self.shell, "-c", line]

    def start_hook(self, command: str | bytes, **more: str) -> Running:
        return start(self.hook_argv(command), self.environment(**more), self.project)

    def hook(self, command: str | bytes, stdin: bytes | None = None, /, **more: str) -> Finished:
        """Run one hook to its end with ``stdin``, by default a PreToolUse event."""
        with self.start_hook(command, **more) as running:
            return running.finish(event() if stdin is None else stdin)

    def start_bare(self, command: str | bytes, **more: str) -> Running:
        return start([self.shell, "-c", command], self.environment(**more), self.project)

    def bare(self, command: str | bytes, stdin: bytes | None = None, /, **more: str) -> Finished:
        """Run the same hook without a prefix."""
        with self.start_bare(command, **more) as running:
            return running.finish(event() if stdin is None else stdin)

    def tool_environment(self, **more: str) -> dict[str, str]:
        return self.environment(**{"CLAUDE_PROJECT_DIR": "", "AI_AGENT": "agent", **more})

    def server_environment(self, **more: str) -> dict[str, str]:
        return self.environment(CLAUDE_PID="", CLAUDE_CODE_CHILD_SESSION="", **more)

    def start_server(self, command: str, **more: str) -> Running:
        """Start an MCP server behind the launcher: it leads neither session nor group."""
        environment = self.server_environment(**more)
        return start([self.prefix, command], environment, self.project, leader=False)

    def spool(self) -> Spool:
        return read_spool(self.state / "spool")

    def last(self) -> Run:
        """Return the only run that has ended since the state folder was made."""
        (end,) = self.spool().ends
        return end

    def forget(self) -> None:
        """Empty the spool."""
        for file in (self.state / "spool").glob("*.spool"):
            file.unlink()


def start(
    argv: Sequence[str | bytes | Path],
    environment: Mapping[str, str],
    folder: Path,
    *,
    leader: bool = True,
    before: Callable[[], None] | None = None,
    keep: Sequence[int] = (),
) -> Running:
    """Start a process on three socket pairs, as the client does.

    ``before`` runs in the child before it becomes the program; ``keep`` are descriptors that it
    inherits.
    """
    pairs = [socket.socketpair() for _ in range(3)]
    try:
        process = subprocess.Popen(
            argv,
            stdin=pairs[0][1].fileno(),
            stdout=pairs[1][1].fileno(),
            stderr=pairs[2][1].fileno(),
            env=environment,
            cwd=folder,
            start_new_session=leader,
            preexec_fn=before,  # noqa: PLW1509 (only short calls, and in tests)
            pass_fds=keep,
        )
    finally:
        for _, theirs in pairs:
            theirs.close()
    stdin, stdout, stderr = (ours for ours, _ in pairs)
    return Running(process, time.monotonic_ns(), stdin, stdout, stderr)


def quote(command: str | bytes) -> bytes:
    """Quote one argument for sh as the client does; bytes of any kind survive."""
    text = command if isinstance(command, str) else command.decode("utf-8", "surrogateescape")
    return shlex.quote(text).encode("utf-8", "surrogateescape")


def event(name: str = "PreToolUse", **more: Any) -> bytes:
    """Return what the client writes on a hook's stdin, members in the client's order."""
    members: dict[str, Any] = {
        "session_id": SESSION,
        "transcript_path": f"/tmp/home/.claude/projects/-p/{SESSION}.jsonl",
        "cwd": "/tmp/project",
        "prompt_id": PROMPT,
        "permission_mode": "default",
        "effort": {"level": "medium"},
        "hook_event_name": name,
    }
    if name in ("PreToolUse", "PostToolUse"):
        members["tool_name"] = "Bash"
        members["tool_input"] = {"command": f"echo {SECRET}", "description": "x"}
        members["tool_use_id"] = TOOL_USE
    return json.dumps(members | more, ensure_ascii=False, separators=(",", ":")).encode()


def write_policy(path: Path, *statements: str) -> None:
    """Write a policy file with checksums, replacing the old one atomically."""
    lines = ["better-claude-policy 1", *statements]
    lines.append(f"end {len(statements)}")
    text = "".join(f"{line} *{zlib.crc32(line.encode()):08x}\n" for line in lines)
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def hook_key(command: str | bytes) -> str:
    """Return the key of a hook by its command text."""
    return f"{fnv1a64(os.fsencode(command)):016x}"


def read_spool(folder: Path) -> Spool:
    """Read every record of a spool folder; check form, checksum, limits and modes."""
    records: list[RunStart | Run] = []
    foreign: list[bytes] = []
    for file in sorted(folder.glob("*.spool")):
        assert file.stat().st_mode & 0o777 == 0o600, f"{file} is not private"
        for line in file.read_bytes().split(b"\n"):
            if not line:
                continue
            payload, _, checksum = line.rpartition(b"\t")
            if checksum != b"%08x" % zlib.crc32(payload):
                foreign.append(line)
                continue
            assert len(line) + 2 <= 8192
            records.append(_DECODER.decode(payload))
    return Spool(tuple(records), tuple(foreign))


def remove_second_folder(state: str) -> None:
    """Remove what a launcher wrote below /tmp because it could not write to ``state``."""
    spools = Path(f"/tmp/better-claude-{os.getuid()}")
    shutil.rmtree(spools / f"{fnv1a64(os.fsencode(state)):016x}", ignore_errors=True)


def survivors(run: str) -> list[int]:
    """Return the living processes that carry ``run`` in their environment."""
    mark = f"{RUN_VARIABLE}={run}".encode()
    return [pid for pid in processes() if mark in _read(f"/proc/{pid}/environ").split(b"\0")]


def processes() -> Iterator[int]:
    """Yield the ids of every process there is."""
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            yield int(name)


def state_of(pid: int) -> str:
    """Return a process's one-letter state, or "" if it is gone."""
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(b")")[2].split()[0].decode() if text else ""


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    return state_of(pid) not in ("", "Z", "X")


def wait_until(condition: Any, seconds: float = 10.0) -> bool:
    """Wait until ``condition()`` is true; return whether it became so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.005)
    return bool(condition())


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""


@cache
def launcher_binary() -> Path:
    """Return the launcher to test: the one that LAUNCHER_UNDER_TEST names, else a fresh build."""
    named = os.environ.get("LAUNCHER_UNDER_TEST")
    return Path(named) if named else build_launcher("launcher")


@cache
def build_launcher(
    name: str, cc: tuple[str, ...] | None = None, flags: tuple[str, ...] = ()
) -> Path:
    """Build the launcher as the package does, or with a compiler and flags of the test's own."""
    binary = CACHE / f"{name}-{_digest(name, cc, flags)}"
    if not binary.exists():
        # The compiler's own cache would otherwise be made anew in every temporary HOME.
        os.environ.setdefault("ZIG_GLOBAL_CACHE_DIR", str(ROOT / ".cache/zig"))
        temporary = binary.with_suffix(f".{os.getpid()}")
        hatch_build.compile_launcher(temporary, cc=cc, cflags=flags)
        temporary.replace(binary)
    return binary


@cache
def compile_c(name: str, *sources: Path, flags: tuple[str, ...] = ()) -> Path:
    """Compile C sources with the system's compiler, once for each state of all sources."""
    binary = CACHE / f"{name}-{_digest(name, flags, *(path.read_bytes() for path in sources))}"
    if not binary.exists():
        folder = CACHE / f"{binary.name}.include"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "builtin.h").write_text(hatch_build.builtin_header())
        command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-g", f"-I{SOURCES}", f"-I{folder}", *flags]
        temporary = binary.with_suffix(f".{os.getpid()}")
        files = [str(path) for path in sources]
        done = subprocess.run(
            [*command, *files, "-o", temporary], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        temporary.replace(binary)
        shutil.rmtree(folder, ignore_errors=True)
    return binary


def _digest(*parts: object) -> str:
    """Name a build by everything that goes into it."""
    digest = hashlib.sha256(repr(parts).encode())
    package = ROOT / "src/better_claude"
    inputs = [ROOT / "hatch_build.py", package / "contract/defaults.toml", package / "units.py"]
    inputs += [package / "__init__.py", *sorted(SOURCES.rglob("*.[ch]"))]
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
