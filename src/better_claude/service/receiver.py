"""The local API: telemetry in, health out, over HTTP on 127.0.0.1 and on a Unix socket."""

import asyncio
import contextlib
import hmac
import logging
import os
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientPayloadError, StreamReader, web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from better_claude.clock import Clock
from better_claude.collect.otlp.answers import accepted, refused
from better_claude.collect.otlp.decode import Decoded, decode
from better_claude.collect.otlp.entries import BadBodyError, Encoding, Signal
from better_claude.errors import ServiceError, StoreError
from better_claude.service.endpoint import LOOPBACK, Endpoint
from better_claude.service.forward import Forwarder
from better_claude.service.health import Health
from better_claude.service.recorder import Recorder
from better_claude.service.stage import describe
from better_claude.service.state import API_SOCKET, api_address

_log = logging.getLogger("better_claude")

MAXIMUM_BODY_BYTES = 16 << 20
# Of all requests together, so that many large ones do not add up.
MAXIMUM_PENDING_BYTES = 48 << 20
MAXIMUM_CONNECTIONS = 128
BODY_TIMEOUT_S = 15.0
HEADER_TIMEOUT_S = 10.0
RETRY_AFTER_S = 5
# A larger body is decoded in a thread, so that others are answered meanwhile (20 MB/s).
_LARGE_BYTES = 64 << 10

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusedError(Exception):
    """A request that is answered with a status of 400 or more."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Receiver:
    """Answer requests. Two listeners with one set of routes: TCP asks for the token."""

    def __init__(
        self,
        recorder: Recorder,
        forwarder: Forwarder,
        health: Health,
        clock: Clock,
        about: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._recorder = recorder
        self._forwarder = forwarder
        self._health = health
        self._clock = clock
        self._about = about
        self._pending_bytes = 0
        self._silent: set[RequestHandler] = set()
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._tcp_server: asyncio.Server | None = None

    @property
    def listens(self) -> bool:
        """Whether the TCP port could be taken."""
        return self._tcp_server is not None

    async def open_unix(self, state: Path) -> None:
        """Listen on ``api.sock``; raises OSError."""
        folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                (state / API_SOCKET).unlink()
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(api_address(folder))
        finally:
            os.close(folder)
        (state / API_SOCKET).chmod(0o600)
        factory = await self._serve(web.Application(middlewares=[self._answer]))
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(factory, sock=listener)
        self._closers.insert(0, _closer(server))

    async def open_tcp(self, endpoint: Endpoint) -> None:
        """Listen on the chosen port unless that was done; raises ServiceError if it is taken."""
        if self._tcp_server is not None:
            return
        listener = _bound(endpoint.port)
        guard = _guard(endpoint)
        factory = await self._serve(web.Application(middlewares=[self._answer, guard]))
        loop = asyncio.get_running_loop()
        self._tcp_server = await loop.create_server(factory, sock=listener)
        self._closers.insert(0, _closer(self._tcp_server))

    async def close(self) -> None:
        """Stop listening, let requests under way end for a moment, and close every connection."""
        for close in self._closers:
            await close()

    async def _serve(self, application: web.Application) -> Callable[[], asyncio.BaseProtocol]:
        application.router.add_get("/healthz", self._healthz)
        for signal in Signal:
            application.router.add_post(f"/v1/{signal}", self._taker(signal))
        runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            auto_decompress=False,
            lingering_time=1.0,
            shutdown_timeout=1.0,
        )
        await runner.setup()
        self._closers.append(runner.cleanup)
        server = runner.server
        if server is None:
            raise RuntimeError("a runner that was set up has a server")

        def connect() -> asyncio.BaseProtocol:
            if len(server.connections) >= MAXIMUM_CONNECTIONS:
                self._health.count("connections_refused")
                return _Hangup()
            return self._watched(server())

        return connect

    def _watched(self, protocol: RequestHandler) -> RequestHandler:
        # The server itself waits for the first request's headers without end.
        self._silent.add(protocol)
        asyncio.get_running_loop().call_later(HEADER_TIMEOUT_S, self._hang_up, protocol)
        return protocol

    def _hang_up(self, protocol: RequestHandler) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                self._health.count("requests_timed_out")
                protocol.transport.abort()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        encoding = _encoding(request) or Encoding.JSON
        try:
            return await handler(request)
        except RefusedError as error:
            return self._refusal(encoding, error.status, str(error))
        except web.HTTPException as error:
            return self._refusal(encoding, error.status, error.reason)
        except StoreError as error:
            return self._refusal(encoding, 503, error.message)
        except Exception as error:
            if self._health.fails("requests", describe(error)):
                _log.exception("requests: one could not be answered")
            return self._refusal(encoding, 500, "an error of ours: see service.log")

    def _refusal(self, encoding: Encoding, status: int, message: str) -> web.Response:
        self._health.count(f"http_{status}")
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status in (429, 503) else None
        response = web.Response(
            body=refused(encoding, message), status=status, content_type=encoding, headers=headers
        )
        if status in (400, 401, 403, 408, 413):
            # Its sender is not one of ours, or is still sending: do not read on.
            response.force_close()
        return response

    async def _healthz(self, request: web.Request) -> web.Response:
        body = msgspec.json.encode({**self._about(), **self._health.report()})
        return web.Response(body=body, content_type="application/json")

    def _taker(self, signal: Signal) -> Handler:
        async def take(request: web.Request) -> web.StreamResponse:
            return await self._take(signal, request)

        return take

    async def _take(self, signal: Signal, request: web.Request) -> web.StreamResponse:
        encoding = _encoding(request)
        if encoding is None:
            raise RefusedError(415, f"Content-Type must be one of: {', '.join(Encoding)}")
        packing = request.headers.get("Content-Encoding", "identity")
        if packing not in ("gzip", "identity"):
            raise RefusedError(415, "Content-Encoding must be gzip or identity")
        async with self._body(request) as content:
            unpacked = unpack(content) if packing == "gzip" else content
            decoded = await self._decode(signal, encoding, unpacked)
            await self._recorder.store(decoded.records)
        self._health.count(f"otlp_{signal}_records", len(decoded.records))
        if decoded.rejected:
            self._health.count(f"otlp_{signal}_rejected", decoded.rejected)
        self._health.works("requests")
        self._forwarder.offer(signal, content, _passed_on(request))
        body = accepted(signal, encoding, decoded.rejected, decoded.reason)
        return web.Response(body=body, content_type=encoding)

    async def _decode(self, signal: Signal, encoding: Encoding, body: bytes) -> Decoded:
        arguments = (signal, encoding, body, self._clock.wall_ns())
        try:
            if len(body) > _LARGE_BYTES:
                return await asyncio.to_thread(decode, *arguments)
            return decode(*arguments)
        except BadBodyError as error:
            raise RefusedError(400, str(error)) from error

    @contextlib.asynccontextmanager
    async def _body(self, request: web.Request) -> AsyncIterator[bytes]:
        """Hold a request's body: what all requests hold together is bounded."""
        if (request.content_length or 0) > MAXIMUM_BODY_BYTES:
            raise RefusedError(413, _TOO_LARGE)
        content = bytearray()
        try:
            try:
                async with asyncio.timeout(BODY_TIMEOUT_S):
                    await self._fill(content, request.content)
            except TimeoutError as error:
                why = f"the body took more than {BODY_TIMEOUT_S:.0f} s"
                raise RefusedError(408, why) from error
            except _CUT_OFF as error:
                raise RefusedError(400, "the body is cut off or badly framed") from error
            yield bytes(content)
        finally:
            self._pending_bytes -= len(content)

    async def _fill(self, content: bytearray, stream: StreamReader) -> None:
        async for part in stream.iter_any():
            self._pending_bytes += len(part)
            content += part
            if len(content) > MAXIMUM_BODY_BYTES:
                raise RefusedError(413, _TOO_LARGE)
            if self._pending_bytes > MAXIMUM_PENDING_BYTES:
                raise RefusedError(503, "too many large bodies at once")


_CUT_OFF = (ConnectionError, web.RequestPayloadError, ClientPayloadError, HttpProcessingError)
_TOO_LARGE = f"a body may have {MAXIMUM_BODY_BYTES >> 20} MB"


def unpack(content: bytes) -> bytes:
    """Return what a gzip body holds; raises RefusedError if that is broken or more than 16 MB."""
    stream = zlib.decompressobj(wbits=31)
    try:
        unpacked = stream.decompress(content, MAXIMUM_BODY_BYTES)
    except zlib.error as error:
        raise RefusedError(400, "the body is not gzip") from error
    if stream.unconsumed_tail:
        raise RefusedError(413, _TOO_LARGE)
    if not stream.eof:
        raise RefusedError(400, "the gzip body is cut off")
    return unpacked


def _guard(endpoint: Endpoint) -> Any:
    """Return what every request over TCP must pass: who may ask, and from where."""
    hosts = frozenset({f"{LOOPBACK}:{endpoint.port}", f"localhost:{endpoint.port}"})
    origins = frozenset(f"http://{host}" for host in hosts)
    expected = f"Bearer {endpoint.token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A page in the user's browser can reach this port, by a name of its own choosing too.
        if request.headers.get("Host") not in hosts:
            raise RefusedError(403, "this Host is not ours")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in origins:
            raise RefusedError(403, "this Origin may not ask")
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected):
            raise RefusedError(401, "the bearer token is missing or wrong")
        return await handler(request)

    return guard


def _encoding(request: web.Request) -> Encoding | None:
    try:
        return Encoding(request.content_type)
    except ValueError:
        return None


def _passed_on(request: web.Request) -> dict[str, str]:
    # Never our own token: what the destination needs stands in forward.json.
    names = ("Content-Type", "Content-Encoding", "User-Agent")
    return {name: request.headers[name] for name in names if name in request.headers}


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(MAXIMUM_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ServiceError(
            "port-taken",
            f"port {port} on {LOOPBACK} is taken by another program: no telemetry is received",
            "Free it, or remove the file `port` in the state folder, restart, and install again.",
        ) from error
    listener.setblocking(False)
    return listener


def _closer(server: asyncio.Server) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        server.close()

    return close


class _Hangup(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()
