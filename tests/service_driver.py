"""Run the real service in a sandbox, feed it, and ask what became of it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tests.records import make_run, make_start, spool_line, spool_name
from tests.sandbox import Sandbox

from better_claude.model import Run, RunStart
from better_claude.paths import Paths
from better_claude.service.state import ServiceState, service_state
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, RunningRun, StoredRun

READY_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; status 0 is a connection that was closed without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a test has started."""

    sandbox: Sandbox

    @property
    def paths(self) -> Paths:
        return self.sandbox.paths

    @property
    def state(self) -> ServiceState:
        return service_state(self.paths)

    @property
    def pid(self) -> int:
        return self.state.pid

    @property
    def log(self) -> str:
        return self.paths.service_log.read_text("utf-8")

    @property
    def token(self) -> str:
        return self.paths.token.read_text("ascii").strip()

    def counter(self, name: str) -> int:
        return self.state.counters.get(name, 0)

    def error(self, stage: str) -> str:
        """Return why a stage fails, or nothing."""
        return next((one.error for one in self.state.stages if one.name == stage), "")

    def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """Send an authorised request over TCP; ``headers`` add to it or replace."""
        given = {
            "Host": f"127.0.0.1:{self.state.port}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        lines = [
            f"POST {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in given.items() if value),
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        with self.connect(timeout) as connection:
            return exchange(connection, head + body)

    def connect(self, timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.state.port), timeout)

    def runs(self, limit: int = 100_000) -> list[StoredRun]:
        with open_reader(self.paths.store) as store:
            return store.runs(RunFilter(), limit=limit)

    def running(self) -> list[RunningRun]:
        with open_reader(self.paths.store) as store:
            return store.running()

    def kill(self) -> None:
        """End it as a power cut would."""
        process = os.pidfd_open(self.pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
        wait_until(lambda: not self.state.running)


def better_claude(
    sandbox: Sandbox, *arguments: str, extra: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "better_claude", *arguments],
        env=sandbox.environ(extra),
        cwd=sandbox.project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def running_service(sandbox: Sandbox) -> Iterator[Service]:
    """Start the service as a user does, and stop it."""
    started = better_claude(sandbox, "up")
    assert started.returncode == 0, started.stderr
    try:
        yield Service(sandbox)
    finally:
        better_claude(sandbox, "down", "--quiet")


def append(folder: Path, records: Sequence[Run | RunStart], time_ns: int | None = None) -> None:
    """Write records as launchers do: each one a single append."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / spool_name(time.time_ns() if time_ns is None else time_ns)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        for record in records:
            os.write(descriptor, spool_line(record))
    finally:
        os.close(descriptor)


def fresh_run(number: int = 1, **members: Any) -> Run:
    """Return a run of this minute: one of the tests' usual time has expired already."""
    return make_run(number, **{"start_ns": time.time_ns() - 10**9, **members})


def fresh_start(number: int = 1, **members: Any) -> RunStart:
    """Return the start of a run of this minute."""
    return make_start(number, **{"start_ns": time.time_ns() - 10**9, **members})


def exchange(connection: socket.socket, request: bytes) -> Answer:
    """Send a request and read one answer; what the peer does not read is let go."""
    with contextlib.suppress(OSError):
        connection.sendall(request)
    data = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in data and (part := connection.recv(1 << 16)):
            data += part
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return Answer(0, {}, b"")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", "0"))
    while len(body) < length and (part := connection.recv(1 << 16)):
        body += part
    return Answer(int(first.split()[1]), headers, body)


def wait_until(condition: Callable[[], object], seconds: float = READY_S) -> None:
    """Wait for something to become true; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.01)
