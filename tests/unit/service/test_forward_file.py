"""``forward.json`` names destinations, and nothing that goes round in circles."""

from pathlib import Path

import pytest

from better_claude.collect.otlp.entries import Signal
from better_claude.errors import ServiceError
from better_claude.service.forward import Destination, read_destinations

OWN_PORT = 21_000


def test_absent_means_nowhere(tmp_path: Path) -> None:
    found = read_destinations(tmp_path / "forward.json", OWN_PORT)
    assert [found.of(signal) for signal in Signal] == [None, None, None]


def test_each_signal_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "forward.json"
    path.write_text(
        '{"logs": {"url": "https://a.example/v1/logs", "headers": {"x": "y"}}, "new": 1}'
    )
    found = read_destinations(path, OWN_PORT)
    assert found.of(Signal.LOGS) == Destination("https://a.example/v1/logs", {"x": "y"})
    assert found.of(Signal.METRICS) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"logs": "http://a"}',
        '{"logs": {}}',
        '{"logs": {"url": "ftp://a/b"}}',
        '{"logs": {"url": "unix:/x"}}',
        '{"logs": {"url": "http://a:notaport/"}}',
        '{"logs": {"url": "http://"}}',
        '{"logs": {"url": "http://a", "headers": {"x": 1}}}',
        '{"logs": {"url": "http://localhost:21000/v1/logs"}}',
        '{"logs": {"url": "http://127.0.0.1:21000/v1/logs"}}',
        '{"logs": {"url": "http://[::1]:21000/v1/logs"}}',
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "forward.json"
    path.write_text(content)
    with pytest.raises(ServiceError) as caught:
        read_destinations(path, OWN_PORT)
    assert caught.value.slug == "forward-unusable"
