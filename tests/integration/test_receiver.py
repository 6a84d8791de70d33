"""The receiver on the wire: what a client sends is stored, what others send does no harm."""

import contextlib
import gzip
import os
import random
import socket
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.otlp_bodies import SESSION, encoded, event, logs, metric, metrics, span, traces
from tests.sandbox import open_sandbox
from tests.service_driver import Service, exchange, running_service, wait_until

from better_claude.collect import proc
from better_claude.collect.otlp.entries import Encoding, Signal
from better_claude.service.state import ask
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, SessionSummary

MB = 1 << 20
API_REQUEST = {"model": "m", "input_tokens": 100, "output_tokens": 7, "cost_usd": 0.5}


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Yield one service for all tests: none of them may do it any harm."""
    with open_sandbox() as sandbox, running_service(sandbox) as one:
        yield one


@pytest.fixture(autouse=True)
def unharmed(service: Service) -> Iterator[None]:
    """Fail a test after which the service is not the same, or does not take telemetry."""
    pid = service.pid
    yield
    wait_until(lambda: service.state.answering)
    assert service.pid == pid
    assert service.post("/v1/logs", body_of(1)).status == 200
    assert service.state.failing == ()


def body_of(sequence: int, encoding: Encoding = Encoding.JSON, session: str = SESSION) -> bytes:
    document = logs(event("api_request", sequence, {**API_REQUEST, "session.id": session}))
    return encoded(Signal.LOGS, encoding, document)


def session_of(service: Service, name: str) -> SessionSummary:
    with open_reader(service.paths.store) as store:
        (found,) = store.sessions(RunFilter(session=name))
        return found


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("packing", ["", "gzip", "identity"])
def test_an_event_is_stored_once_however_often_it_is_sent(
    service: Service, encoding: Encoding, packing: str
) -> None:
    session = f"once-{encoding.name}-{packing}"
    body = body_of(1, encoding, session)
    sent = gzip.compress(body) if packing == "gzip" else body
    headers = {"Content-Type": f"{encoding}; charset=utf-8", "Content-Encoding": packing}
    for _ in range(3):
        answer = service.post("/v1/logs", sent, headers)
        assert (answer.status, answer.headers["content-type"]) == (200, encoding)
        assert answer.body == (b"{}" if encoding is Encoding.JSON else b"")
    found = session_of(service, session)
    assert (found.api.calls, found.input_tokens, found.cost_usd) == (1, 100, 0.5)


def test_all_signals_and_a_partial_success(service: Service) -> None:
    cumulative = metric("token.usage", [(1.0, {})], temporality=2)
    body = encoded(Signal.METRICS, Encoding.JSON, metrics(cumulative, metric("x", [(1.0, {})])))
    answer = service.post("/v1/metrics", body)
    assert answer.status == 200
    assert answer.json["partialSuccess"]["rejectedDataPoints"] == "1"
    body = encoded(Signal.TRACES, Encoding.PROTOBUF, traces(span("tool", 5, {})))
    answer = service.post("/v1/traces", body, {"Content-Type": "application/x-protobuf"})
    assert (answer.status, answer.body) == (200, b"")
    assert service.counter("otlp_metrics_rejected") >= 1
    assert service.counter("otlp_traces_records") >= 1


def test_a_connection_is_kept_and_pieces_are_joined(service: Service) -> None:
    body = body_of(1)
    head = (
        f"POST /v1/logs HTTP/1.1\r\nHost: localhost:{service.state.port}\r\n"
        f"authorization: Bearer {service.token}\r\nContent-Type: application/json\r\n"
    ).encode()
    with service.connect() as connection:
        for _ in range(3):
            for byte in head:
                connection.send(bytes([byte]))
            connection.send(b"Transfer-Encoding: chunked\r\n\r\n")
            for piece in (body[:10], body[10:]):
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert exchange(connection, b"0\r\n\r\n").status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic d3Jvbmc="}, 401),
        ({"Authorization": "Bearer \xe9"}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "br"}, 415),
        ({"Content-Encoding": "gzip"}, 400),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "x"}, 400),
        ({"Content-Length": str(17 * MB)}, 413),
    ],
)
def test_what_must_not_pass(service: Service, headers: dict[str, str], status: int) -> None:
    assert service.post("/v1/logs", body_of(1), headers).status == status


def test_our_own_origin_may_ask(service: Service) -> None:
    origin = f"http://127.0.0.1:{service.state.port}"
    assert service.post("/v1/logs", body_of(1), {"Origin": origin}).status == 200


def test_other_paths_and_methods(service: Service) -> None:
    assert service.post("/", b"").status == 404
    assert service.post("/v1/logs/../../etc/passwd", b"").status == 404
    assert service.post("/healthz", b"").status == 405


def test_health_needs_the_token_on_tcp_and_none_on_the_owners_socket(service: Service) -> None:
    health = ask(service.paths, "/healthz")
    assert health is not None
    assert health["ok"] is True
    assert {"spool", "runs", "receiver", "contract", "sampler"} <= set(health["stages"])
    with service.connect() as connection:
        host = f"Host: localhost:{service.state.port}"
        assert (
            exchange(connection, f"GET /healthz HTTP/1.1\r\n{host}\r\n\r\n".encode()).status == 401
        )


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 500_000, b'{"a":' * 200_000, b"null", b"{}" * 3],
)
def test_bodies_that_are_none_are_told_so(service: Service, body: bytes) -> None:
    for path in ("/v1/logs", "/v1/metrics", "/v1/traces"):
        answer = service.post(path, body)
        assert answer.status == 400
        assert "message" in answer.json


def test_gzip_bombs_are_cheap(service: Service) -> None:
    bomb = packed_zeros()
    before = resident(service)
    start_s = time.monotonic()
    for _ in range(4):
        answer = service.post("/v1/logs", bomb, {"Content-Encoding": "gzip"})
        assert answer.status == 413
    assert time.monotonic() - start_s < 4.0
    assert resident(service) - before < 64 * MB


def packed_zeros() -> bytes:
    """Return 256 kB that unpack to 256 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(MB)
    return b"".join(packer.compress(zeros) for _ in range(256)) + packer.flush()


def test_endless_bodies_are_refused(service: Service) -> None:
    with service.connect() as connection:
        head = (
            f"POST /v1/logs HTTP/1.1\r\nHost: localhost:{service.state.port}\r\n"
            f"authorization: Bearer {service.token}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode()
        connection.sendall(head)
        piece = b"%x\r\n%b\r\n" % (MB, b" " * MB)
        before = resident(service)
        start_s = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            while time.monotonic() - start_s < 10:
                connection.sendall(piece)
        assert resident(service) - before < 64 * MB
    assert service.counter("http_413") >= 1


def test_bodies_that_are_framed_badly(service: Service) -> None:
    for framing in (b"zz\r\n", b"5\r\nab", b"ffffffffffffffffff\r\n", b"-1\r\n\r\n"):
        with service.connect() as connection:
            head = (
                f"POST /v1/logs HTTP/1.1\r\nHost: localhost:{service.state.port}\r\n"
                f"authorization: Bearer {service.token}\r\nContent-Type: application/json\r\n"
                "Transfer-Encoding: chunked\r\n\r\n"
            ).encode()
            connection.sendall(head + framing)
            connection.shutdown(socket.SHUT_WR)
            assert exchange(connection, b"").status in (0, 400)


def test_a_full_sized_body_is_taken(service: Service) -> None:
    record = event("user_prompt", 1, {"prompt_length": 3, "junk": "x" * 900})
    many = [{**record, "timeUnixNano": str(n)} for n in range(1, 9000)]
    body = encoded(Signal.LOGS, Encoding.JSON, logs(*many))
    assert 10 * MB < len(body) < 16 * MB
    answer = service.post("/v1/logs", body, timeout=60)
    assert answer.status == 200


def test_garbage_gets_nowhere(service: Service) -> None:
    rng = random.Random(7)
    starts = [
        b"",
        b"POST /v1/logs HTTP/1.1\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ]
    for _ in range(60):
        noise = rng.choice(starts) + rng.randbytes(rng.randrange(2000)) + b"\r\n\r\n"
        with service.connect() as connection:
            assert exchange(connection, noise).status in (0, 400, 401, 403, 404, 405)


def test_headers_without_end_are_refused(service: Service) -> None:
    with service.connect() as connection:
        endless = b"POST /v1/logs HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(20_000))
        assert exchange(connection, endless).status in (0, 400)


def test_half_requests_and_early_ends_cost_nothing(service: Service) -> None:
    head = (
        f"POST /v1/logs HTTP/1.1\r\nHost: localhost:{service.state.port}\r\n"
        f"Authorization: Bearer {service.token}\r\nContent-Type: application/json\r\n"
        "Content-Length: 100000\r\n\r\n"
    ).encode()
    before = descriptors(service)
    for cut in range(0, len(head), 7):
        service.connect().close()
        with service.connect() as connection:
            connection.sendall(head[:cut])
    for _ in range(20):
        with service.connect() as connection:
            connection.sendall(head + b"x" * 1000)
    wait_until(lambda: descriptors(service) <= before + 2)


def test_those_who_say_nothing_are_hung_up_on(service: Service) -> None:
    with service.connect(30) as mute, service.connect(30) as half:
        half.sendall(b"POST /v1/logs HTTP/1.1\r\nHo")
        start_s = time.monotonic()
        assert [ending(mute), ending(half)] == [b"", b""]
        assert time.monotonic() - start_s < 15
    assert service.counter("requests_timed_out") >= 2


def ending(connection: socket.socket) -> bytes:
    """Return what comes before the end of a connection, orderly or not."""
    with contextlib.suppress(ConnectionResetError):
        return connection.recv(10)
    return b""


def test_more_connections_than_it_takes(service: Service) -> None:
    held = []
    try:
        for _ in range(400):
            held.append(service.connect())
    finally:
        for connection in held:
            connection.close()
    assert service.counter("connections_refused") >= 1


def test_forty_exporters_at_once(service: Service) -> None:
    def export(number: int) -> int:
        session = f"many-{number}"
        return sum(
            service.post("/v1/logs", body_of(n, session=session), timeout=30).status == 200
            for n in range(10)
        )

    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(export, range(40))) == [10] * 40
    assert session_of(service, "many-17").api.calls == 10


def resident(service: Service) -> int:
    return proc.memory(service.pid)[0]


def descriptors(service: Service) -> int:
    return len(os.listdir(f"/proc/{service.pid}/fd"))  # noqa: PTH208
