"""Send telemetry on to where it went before we were installed: unchanged, and in nobody's way."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from better_claude.collect.otlp.entries import Signal
from better_claude.errors import ServiceError
from better_claude.service.health import Health

_log = logging.getLogger("better_claude")

FORWARD_FILE = "forward.json"
MAXIMUM_BODIES = 64
MAXIMUM_BYTES = 16 << 20
_GIVE_UP_S = 300.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_AGAIN = frozenset({408, 429, 502, 503, 504})
_LONGEST_PAUSE_S = 30.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Destination(msgspec.Struct, frozen=True):
    """Where one signal goes: a complete URL, and headers that may hold the user's secrets."""

    url: str
    headers: dict[str, str] = {}


class Destinations(msgspec.Struct, frozen=True):
    """``forward.json``: a signal that is absent is not forwarded."""

    metrics: Destination | None = None
    logs: Destination | None = None
    traces: Destination | None = None

    def of(self, signal: Signal) -> Destination | None:
        """Return where a signal goes."""
        return {Signal.METRICS: self.metrics, Signal.LOGS: self.logs, Signal.TRACES: self.traces}[
            signal
        ]


def read_destinations(path: Path, own_port: int) -> Destinations:
    """Return what ``forward.json`` says; nothing if there is none.

    Raises ServiceError if it cannot be understood, or names our own receiver.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Destinations)
    except FileNotFoundError:
        return Destinations()
    except (OSError, msgspec.DecodeError) as error:
        raise _unusable(path, str(error)) from error
    for signal in Signal:
        destination = found.of(signal)
        if destination is not None:
            _check(path, destination, own_port)
    return found


def _check(path: Path, destination: Destination, own_port: int) -> None:
    try:
        parts = urlsplit(destination.url)
        port = parts.port
    except ValueError as error:
        raise _unusable(path, str(error)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _unusable(path, f"{parts.scheme or 'an empty'} URL is not http or https")
    if parts.hostname in _LOOPBACK and port == own_port:
        raise _unusable(path, "it names our own receiver")


def _unusable(path: Path, why: str) -> ServiceError:
    return ServiceError(
        "forward-unusable",
        f"telemetry is not passed on: {path}: {why}",
        "Mend or remove the file, or run: better-claude install",
    )


class _Fate(Enum):
    """What became of an attempt; only ``LATER`` is worth another one."""

    TAKEN = "taken"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes
    headers: Mapping[str, str]
    born_s: float


class Forwarder:
    """Queues of bodies, one a signal, and the tasks that send them."""

    def __init__(self, path: Path, own_port: int, health: Health) -> None:
        self._path = path
        self._own_port = own_port
        self._health = health
        self._destinations = Destinations()
        self._mark: object = None
        self._queues: dict[Signal, deque[_Body]] = {signal: deque() for signal in Signal}
        self._senders: dict[Signal, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def look(self) -> None:
        """Read the destinations again if their file changed; raises ServiceError."""
        mark = _mark(self._path)
        if mark == self._mark:
            return
        self._destinations = Destinations()
        self._destinations = read_destinations(self._path, self._own_port)
        self._mark = mark

    def offer(self, signal: Signal, content: bytes, headers: Mapping[str, str]) -> None:
        """Take a body to be sent on, if its signal has a destination; never waits."""
        if self._destinations.of(signal) is None:
            return
        queue = self._queues[signal]
        queue.append(_Body(content, headers, self._now_s()))
        while len(queue) > MAXIMUM_BODIES or sum(len(b.content) for b in queue) > MAXIMUM_BYTES:
            queue.popleft()
            self._health.count("forward_dropped")
        sender = self._senders.get(signal)
        if sender is None or sender.done():
            self._senders[signal] = asyncio.create_task(self._send_all(signal))

    async def close(self) -> None:
        """Stop sending; what is queued is dropped."""
        for sender in self._senders.values():
            sender.cancel()
        await asyncio.gather(*self._senders.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _send_all(self, signal: Signal) -> None:
        queue = self._queues[signal]
        pause_s = 0.5
        while queue:
            body = queue[0]
            fate = await self._send(signal, body)
            if fate is _Fate.LATER and self._now_s() - body.born_s < _GIVE_UP_S:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
                continue
            pause_s = 0.5
            self._health.count("forwarded" if fate is _Fate.TAKEN else "forward_dropped")
            # The queue may have been cut meanwhile.
            if queue and queue[0] is body:
                queue.popleft()

    async def _send(self, signal: Signal, body: _Body) -> "_Fate":
        destination = self._destinations.of(signal)
        if destination is None:
            return _Fate.REFUSED
        try:
            async with self._open().post(
                destination.url,
                data=body.content,
                headers={**body.headers, **destination.headers},
                allow_redirects=False,
            ) as answer:
                return self._judge(signal, answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            self._complain(signal, type(error).__name__)
            return _Fate.LATER

    def _judge(self, signal: Signal, status: int) -> "_Fate":
        if 200 <= status < 300:
            self._health.works(f"forward {signal}")
            return _Fate.TAKEN
        self._complain(signal, f"HTTP {status}")
        return _Fate.LATER if status in _AGAIN else _Fate.REFUSED

    def _complain(self, signal: Signal, why: str) -> None:
        if self._health.fails(f"forward {signal}", f"the destination does not take it: {why}"):
            _log.warning("forward %s: the destination does not take it: %s", signal, why)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Nothing of its own: no cookies, no proxies of the environment, no second encoding.
            self._session = aiohttp.ClientSession(
                timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._session


def _mark(path: Path) -> Any:
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return status.st_ino, status.st_size, status.st_mtime_ns
