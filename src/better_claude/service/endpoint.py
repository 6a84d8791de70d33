"""Where the receiver listens and what opens it: a port and a token, chosen once."""

import contextlib
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from better_claude.errors import ServiceError
from better_claude.model import fnv1a64
from better_claude.paths import Paths
from better_claude.service.lock import turn

LOOPBACK = "127.0.0.1"
# Below the range from which Linux takes the ports of outgoing connections (32768 to 60999), so that
# none of those is in our way at the next start.
_FIRST_PORT, _PORTS = 20_000, 12_000
_ATTEMPTS = 200
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The receiver's port on 127.0.0.1 and its bearer token."""

    port: int
    token: str

    @property
    def url(self) -> str:
        """What ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set to."""
        return f"http://{LOOPBACK}:{self.port}"


def ensure_endpoint(paths: Paths) -> Endpoint:
    """Return the endpoint of this state folder and choose it if it has none yet.

    Safe to call from several processes at once, and without a running service. Raises OSError if
    the state folder cannot be written, ServiceError if no port is free.
    """
    port, token = _read_port(paths.port), _read_token(paths.token)
    if port is not None and token:
        return Endpoint(port, token)
    # One at a time: what one finds missing or damaged, another may just have made whole.
    with turn(paths.state / "endpoint.lock"):
        return Endpoint(_ensure_port(paths), _ensure_token(paths.token))


def _ensure_port(paths: Paths) -> int:
    known = _read_port(paths.port)
    if known is None:
        if paths.port.exists():
            paths.port.unlink()
        _write_once(paths.port, f"{_free_port(paths.state)}\n".encode())
        known = _read_port(paths.port)
    if known is None:
        raise ServiceError("port-unusable", f"{paths.port} holds no port", "Remove the file.")
    return known


def _read_port(path: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        port = int(path.read_text("ascii"))
        return port if 0 < port < 65_536 else None
    return None


def _free_port(state: Path) -> int:
    for port in _candidates(state):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise ServiceError(
        "no-free-port", f"none of {_ATTEMPTS} ports on {LOOPBACK} is free", "Free one, and retry."
    )


def _candidates(state: Path) -> Iterator[int]:
    # The same folder starts at the same place, so that a reinstall finds its port again.
    start = fnv1a64(os.fsencode(state)) % _PORTS
    for step in range(_ATTEMPTS):
        yield _FIRST_PORT + (start + step) % _PORTS


def _ensure_token(path: Path) -> str:
    token = _read_token(path)
    if not token:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        _write_once(path, f"{secrets.token_urlsafe(_TOKEN_BYTES)}\n".encode())
        token = _read_token(path)
    return token


def _read_token(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        token = path.read_text("ascii").strip()
        return token if len(token) >= _TOKEN_BYTES else ""
    return ""


def _write_once(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` whole or not at all; whoever is first there wins."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        Path(temporary).unlink()
