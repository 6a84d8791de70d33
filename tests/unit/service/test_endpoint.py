"""Port and token are chosen once, whole, and for the owner only."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from better_claude.errors import ServiceError
from better_claude.paths import Paths
from better_claude.service import endpoint
from better_claude.service.endpoint import ensure_endpoint


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths.from_environment({"BETTER_CLAUDE_STATE": str(tmp_path / "state")})
    made.create()
    return made


def test_chosen_once(paths: Paths) -> None:
    first = ensure_endpoint(paths)
    assert ensure_endpoint(paths) == first
    assert 20_000 <= first.port < 32_000
    assert len(first.token) >= 32
    assert first.url == f"http://127.0.0.1:{first.port}"
    assert {path.name for path in paths.state.iterdir()} == {
        "bin",
        "spool",
        "port",
        "token",
        "endpoint.lock",
    }


def test_for_the_owner_only(paths: Paths) -> None:
    ensure_endpoint(paths)
    assert paths.token.stat().st_mode & 0o777 == 0o600
    paths.token.chmod(0o644)
    ensure_endpoint(paths)
    assert paths.token.stat().st_mode & 0o777 == 0o600


def test_ten_at_once_agree(paths: Paths) -> None:
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: ensure_endpoint(paths), range(10)))
    assert len(set(found)) == 1


def test_a_port_that_is_taken_is_not_chosen(paths: Paths) -> None:
    port = ensure_endpoint(paths).port
    paths.port.unlink()
    with socket.create_server(("127.0.0.1", port)):
        assert ensure_endpoint(paths).port != port
    assert ensure_endpoint(paths).port != port


@pytest.mark.parametrize("content", ["", "x", "0", "70000", "-1", "12 34", "\xff"])
def test_a_damaged_port_is_chosen_again(paths: Paths, content: str) -> None:
    paths.port.write_text(content, "utf-8")
    assert 20_000 <= ensure_endpoint(paths).port < 32_000


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 50])
def test_a_damaged_token_is_chosen_again(paths: Paths, content: bytes) -> None:
    paths.token.write_bytes(content)
    assert len(ensure_endpoint(paths).token) >= 32


def test_no_free_port_is_said(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        monkeypatch.setattr(endpoint, "_candidates", lambda state: iter([port]))
        with pytest.raises(ServiceError) as caught:
            ensure_endpoint(paths)
    assert caught.value.slug == "no-free-port"


@pytest.fixture
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
