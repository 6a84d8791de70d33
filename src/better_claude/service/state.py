"""Whether the service runs and how it is, asked cheaply and without its own libraries."""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from better_claude.paths import Paths
from better_claude.service.lock import lock_owner

API_SOCKET = "api.sock"
_TIMEOUT_S = 1.0
_LONGEST_ANSWER = 1 << 20


@dataclass(frozen=True, slots=True)
class StageState:
    """How one stage of the service is: ``error`` is empty while it works."""

    name: str
    error: str
    since_ns: int
    restarts: int


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What is known of the service from outside.

    ``running`` is whether a process holds its lock, ``answering`` whether that process also spoke
    to us. ``port`` is 0 where the receiver's port could not be taken, ``started_ns`` is wall time.
    """

    running: bool
    answering: bool = False
    pid: int = 0
    port: int = 0
    started_ns: int = 0
    version: str = ""
    stages: tuple[StageState, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def failing(self) -> tuple[StageState, ...]:
        """The stages that do not work now."""
        return tuple(stage for stage in self.stages if stage.error)


def service_state(paths: Paths) -> ServiceState:
    """Return how the service is: one ``flock`` if it is down, about a millisecond if it is up."""
    owner = lock_owner(paths.service_lock)
    if owner is None:
        return ServiceState(running=False)
    health = ask(paths, "/healthz")
    if health is None:
        return ServiceState(running=True, pid=owner.pid)
    try:
        return _answered(health)
    except (KeyError, TypeError, ValueError):
        return ServiceState(running=True, pid=owner.pid)


def ask(paths: Paths, path: str) -> dict[str, Any] | None:
    """Return the local API's JSON answer to ``GET path``; None if it gives none within a second."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_TIMEOUT_S)
            _connect(client, paths.state)
            client.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = _read_all(client)
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head[:20]:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def api_address(folder: int) -> str:
    """Return the address of the API's socket in the open folder ``folder``.

    Through the descriptor, because a socket's path may only have 107 bytes.
    """
    return f"/proc/self/fd/{folder}/{API_SOCKET}"


def _connect(client: socket.socket, state: Path) -> None:
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        client.connect(api_address(folder))
    finally:
        os.close(folder)


def _read_all(client: socket.socket) -> bytes:
    parts = []
    size = 0
    while size < _LONGEST_ANSWER and (part := client.recv(1 << 16)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _answered(health: Mapping[str, Any]) -> ServiceState:
    stages = tuple(
        StageState(name, str(one["error"]), int(one["since_ns"]), int(one["restarts"]))
        for name, one in health["stages"].items()
    )
    return ServiceState(
        running=True,
        answering=True,
        pid=int(health["pid"]),
        port=int(health["port"]),
        started_ns=int(health["started_ns"]),
        version=str(health["version"]),
        stages=stages,
        counters={str(name): int(value) for name, value in health["counters"].items()},
    )
