"""What we put over a user's settings, and what we leave alone."""

from pathlib import Path
from typing import Any

import pytest

from better_claude.claude.settings.installation import merge
from better_claude.claude.settings.jsontext import parse_object
from better_claude.claude.settings.overlay import (
    ContextTerms,
    Overlay,
    Terms,
    compaction_start,
    is_launcher,
    overlay,
)
from better_claude.claude.settings.telemetry import Receiver
from better_claude.claude.settings.traces import find_traces

LAUNCHER = Path("/home/me/.local/state/better-claude/bin/launcher")
CONTEXT = ContextTerms(150_000, 100_000)
RECEIVER = Receiver(20_001, "secret")
TERMS = Terms(LAUNCHER, CONTEXT, RECEIVER)
Json = dict[str, Any]


def env_of(ours: Overlay) -> Json:
    env = ours.as_settings()["env"]
    assert isinstance(env, dict)
    return env


def over(settings: Json, environ: dict[str, str] | None = None) -> Overlay:
    return overlay(settings, TERMS, environ or {})


def test_nothing_before_us() -> None:
    ours = over({})
    assert ours.as_settings() == {
        "env": {
            "CLAUDE_CODE_SHELL_PREFIX": str(LAUNCHER),
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:20001",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer secret",
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",
            "OTEL_LOGS_EXPORT_INTERVAL": "2000",
            "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": "76.92",
        },
        "autoCompactWindow": 150_000,
    }
    assert (ours.forward, ours.notes) == ({}, ())


def test_an_earlier_prefix_is_chained() -> None:
    env = env_of(over({"env": {"CLAUDE_CODE_SHELL_PREFIX": " /usr/bin/nice "}}))
    assert env["BETTER_CLAUDE_PREFIX"] == "/usr/bin/nice"
    assert env["CLAUDE_CODE_SHELL_PREFIX"] == str(LAUNCHER)


def test_our_own_prefix_is_not_chained_into_itself(tmp_path: Path) -> None:
    other = tmp_path / "state/bin/launcher"
    other.parent.mkdir(parents=True)
    (tmp_path / "state/policy").touch()
    for prefix in (str(LAUNCHER), str(other)):
        env = env_of(over({"env": {"CLAUDE_CODE_SHELL_PREFIX": prefix}}))
        assert "BETTER_CLAUDE_PREFIX" not in env
    assert not is_launcher("/opt/tool/bin/launcher")
    assert not is_launcher("bin/launcher")


def test_a_state_folder_of_its_own_is_named() -> None:
    terms = Terms(LAUNCHER, CONTEXT, None, Path("/state"))
    assert env_of(overlay({}, terms, {}))["BETTER_CLAUDE_STATE"] == "/state"


def theirs(**more: str) -> Json:
    return {
        "env": {
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=a,x-key=b=c",
            **more,
        }
    }


def test_their_destination_is_fed() -> None:
    ours = over(theirs(OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="https://logs/v1/logs"))
    headers = {"x-team": "a", "x-key": "b=c"}
    assert ours.forward == {
        "metrics": {"url": "http://collector:4318/v1/metrics", "headers": headers},
        "logs": {"url": "https://logs/v1/logs", "headers": headers},
    }
    env = env_of(ours)
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:20001"
    assert env["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] == "http://127.0.0.1:20001/v1/logs"
    assert env["OTEL_EXPORTER_OTLP_PROTOCOL"] == "http/protobuf"


def test_a_signals_own_headers_win_and_are_replaced() -> None:
    ours = over(theirs(OTEL_EXPORTER_OTLP_METRICS_HEADERS="x-team=m"))
    assert ours.forward["metrics"]["headers"] == {"x-team": "m", "x-key": "b=c"}
    assert ours.forward["logs"]["headers"]["x-team"] == "a"
    assert env_of(ours)["OTEL_EXPORTER_OTLP_METRICS_HEADERS"] == RECEIVER.headers


def test_an_address_that_was_not_in_use_is_not_fed() -> None:
    assert over(theirs(CLAUDE_CODE_ENABLE_TELEMETRY="0")).forward == {}
    assert over(theirs(OTEL_LOGS_EXPORTER="none")).forward.keys() == {"metrics"}
    assert over(theirs(OTEL_METRICS_EXPORTER="console", OTEL_LOGS_EXPORTER="")).forward == {}


def test_the_environments_destination_counts_as_well() -> None:
    environ = {str(name): str(value) for name, value in theirs()["env"].items()}
    assert over({}, environ).forward.keys() == {"metrics", "logs"}


def test_other_exporters_stay() -> None:
    env = env_of(over(theirs(OTEL_METRICS_EXPORTER="prometheus", OTEL_LOGS_EXPORTER="none")))
    assert env["OTEL_METRICS_EXPORTER"] == "prometheus,otlp"
    assert env["OTEL_LOGS_EXPORTER"] == "otlp"


@pytest.mark.parametrize(
    "more",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/key.pem"},
        {"OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE": "/ca.pem"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "unix:/run/otel.sock"},
    ],
)
def test_what_cannot_be_fed_is_left_alone(more: dict[str, str]) -> None:
    ours = over(theirs(**more))
    assert (dict(ours.forward), len(ours.notes)) == ({}, 1)
    assert not any(name.startswith("OTEL") for name in env_of(ours))


def test_headers_from_a_helper_are_left_alone() -> None:
    assert over({**theirs(), "otelHeadersHelper": "/bin/headers"}).forward == {}


def test_a_note_names_no_secret() -> None:
    ours = over(theirs(OTEL_EXPORTER_OTLP_ENDPOINT="ftp://me:pass@host:1/x?key=2"))
    assert "pass" not in ours.notes[0]
    assert "key" not in ours.notes[0]


@pytest.mark.parametrize("maximum", [50_000, 100_000, 150_000, 400_000, 2_000_000])
@pytest.mark.parametrize("compress_from", [20_000, 100_000, 149_000])
def test_compaction_never_starts_later_than_the_contract_says(
    maximum: int, compress_from: int
) -> None:
    terms = Terms(LAUNCHER, ContextTerms(maximum, compress_from))
    document = overlay({}, terms, {}).as_settings()
    percent = float(document["env"]["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"])
    start = compaction_start(document["autoCompactWindow"], percent)
    assert start <= compress_from
    room = document["autoCompactWindow"] - 33_000
    assert start >= min(compress_from, room) - 200


@pytest.mark.parametrize(
    ("window", "percent", "kept"),
    [
        (120_000, "50", True),
        (150_000, "76.92", True),
        (110_000, None, True),
        (150_000, None, False),
        (150_000, "90", False),
        (200_000, "40", False),
        (None, "40", False),
    ],
)
def test_only_a_stricter_window_stays(window: int | None, percent: str | None, kept: bool) -> None:
    settings: Json = {"env": {"CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": percent} if percent else {}}
    if window:
        settings["autoCompactWindow"] = window
    document = over(settings).as_settings()
    assert ("autoCompactWindow" not in document) is kept
    if not kept:
        ours = float(document["env"]["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"])
        assert compaction_start(document["autoCompactWindow"], ours) <= 100_000
        assert ours <= float(percent or 100)


@pytest.mark.parametrize(
    "settings", [{"autoCompactEnabled": False}, {"autoCompactWindow": {"opus": 1}}]
)
def test_a_window_that_is_no_number_is_left_alone(settings: Json) -> None:
    ours = over(settings)
    assert "autoCompactWindow" not in ours.as_settings()
    assert len(ours.notes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{}\n",
        '{"model": "opus", "env": {"EDITOR": "vi"}}',
        '{\n  "env": {\n    "CLAUDE_CODE_SHELL_PREFIX": "/usr/bin/nice"\n  }\n}\n',
    ],
)
def test_a_lost_record_is_made_up_for_by_what_is_recognised(text: str) -> None:
    from better_claude.claude.settings.installation import take_out

    after, _ = merge(text, overlay(parse_object(text), TERMS, {}).members)
    traces = find_traces(after, parse_object(after), LAUNCHER, CONTEXT)
    restored, edited = take_out(after, traces)
    assert edited == ()
    left = parse_object(restored)
    assert left.pop("env", {}) == parse_object(text).get("env", {})
    assert left == {k: v for k, v in parse_object(text).items() if k != "env"}


def test_without_our_prefix_nothing_is_recognised_as_ours() -> None:
    text = '{"env": {"CLAUDE_CODE_ENABLE_TELEMETRY": "1"}, "autoCompactWindow": 150000}'
    assert find_traces(text, parse_object(text), LAUNCHER, CONTEXT) == ()
