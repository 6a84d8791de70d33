"""Telemetry goes on to where it went before: unchanged, and without holding anybody up."""

import gzip
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.otlp_bodies import encoded, event, logs
from tests.sandbox import Sandbox
from tests.service_driver import Service, running_service, wait_until

from better_claude.collect.otlp.entries import Encoding, Signal


@dataclass(slots=True)
class Destination:
    """A collector of the user's that answers as it is told."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    delay_s: float = 0.0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/logs"


@contextmanager
def destination(**members: Any) -> Iterator[Destination]:
    made = Destination(**members)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(made.delay_s)
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.received.append((self.path, headers, body))
            self.send_response(made.statuses.pop(0) if made.statuses else 200)
            self.send_header("Location", made.url)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Service]:
    with running_service(sandbox) as one:
        yield one


def point_to(service: Service, there: Destination) -> None:
    """Write ``forward.json`` before the service starts looking, and wait until it has."""
    content = {"logs": {"url": there.url, "headers": {"x-team": "blue"}}}
    (service.paths.state / "forward.json").write_text(json.dumps(content))
    wait_until(lambda: offered(service, there), 12)
    there.received.clear()


def offered(service: Service, there: Destination) -> bool:
    service.post("/v1/logs", body_of(0))
    time.sleep(0.05)
    return bool(there.received)


def body_of(sequence: int) -> bytes:
    return encoded(Signal.LOGS, Encoding.JSON, logs(event("user_prompt", sequence, {})))


def test_a_body_arrives_as_it_was_sent(service: Service) -> None:
    with destination() as there:
        point_to(service, there)
        body = gzip.compress(body_of(1))
        assert service.post("/v1/logs", body, {"Content-Encoding": "gzip"}).status == 200
        wait_until(lambda: there.received)
        path, headers, content = there.received[-1]
        assert (path, content) == ("/v1/logs", body)
        assert headers["content-encoding"] == "gzip"
        assert headers["content-type"] == "application/json"
        assert headers["x-team"] == "blue"
        # Our own token is nobody else's business.
        assert service.token not in repr(headers)
        # A signal without a destination is not sent anywhere.
        there.received.clear()
        assert service.post("/v1/metrics", b"{}").status == 200
        time.sleep(0.3)
        assert there.received == []


def test_it_is_tried_again_and_in_order(service: Service) -> None:
    with destination() as there:
        point_to(service, there)
        there.statuses = [503, 429]
        for sequence in (1, 2, 3):
            assert service.post("/v1/logs", body_of(sequence)).status == 200
        wait_until(lambda: len(there.received) == 5)
        bodies = [body for _, _, body in there.received]
        assert bodies == [body_of(1)] * 3 + [body_of(2), body_of(3)]
        wait_until(lambda: not service.error("forward logs"))


def test_a_destination_that_refuses_or_redirects_is_reported_and_not_followed(
    service: Service,
) -> None:
    with destination() as there:
        point_to(service, there)
        there.statuses = [400, 302]
        for sequence in (1, 2):
            service.post("/v1/logs", body_of(sequence))
        wait_until(lambda: len(there.received) == 2)
        wait_until(lambda: service.counter("forward_dropped") == 2)
        assert "HTTP 302" in service.error("forward logs")


def test_a_slow_destination_holds_nobody_up_and_fills_nothing(service: Service) -> None:
    with destination() as there:
        point_to(service, there)
        there.delay_s = 1.0
        start_s = time.monotonic()
        for sequence in range(150):
            assert service.post("/v1/logs", body_of(sequence)).status == 200
        assert time.monotonic() - start_s < 5.0
        assert service.counter("forward_dropped") >= 50
        there.delay_s = 0.0


def test_a_destination_that_is_gone_keeps_nobody_from_storing(service: Service) -> None:
    with destination() as there:
        point_to(service, there)
    before = service.counter("otlp_logs_records")
    assert service.post("/v1/logs", body_of(77)).status == 200
    assert service.counter("otlp_logs_records") == before + 1
    wait_until(lambda: service.error("forward logs"))


def test_a_file_that_cannot_be_used_is_said(service: Service) -> None:
    own = f"http://127.0.0.1:{service.state.port}/v1/logs"
    (service.paths.state / "forward.json").write_text(json.dumps({"logs": {"url": own}}))
    wait_until(lambda: "[forward-unusable]" in service.error("forward"), 12)
    assert service.post("/v1/logs", body_of(1)).status == 200
    (service.paths.state / "forward.json").unlink()
    wait_until(lambda: not service.error("forward"), 12)
