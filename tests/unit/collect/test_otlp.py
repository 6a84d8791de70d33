"""What is made of the client's telemetry, and what is left out."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.otlp_bodies import (
    RESOURCE,
    SECRET,
    SESSION,
    TIME_NS,
    attributes,
    encoded,
    event,
    logs,
    metric,
    metrics,
    span,
    traces,
)

from better_claude.collect.otlp.answers import accepted, refused
from better_claude.collect.otlp.attributes import integer, number
from better_claude.collect.otlp.decode import Decoded, decode
from better_claude.collect.otlp.entries import BadBodyError, Encoding, Signal
from better_claude.model import ApiCall, ClientEvent, Compaction, MetricPoint, Source, ToolCall

NOW_NS = TIME_NS + 10**10
BOTH = pytest.mark.parametrize("encoding", list(Encoding))

API_REQUEST = {
    "model": "claude-opus-4-8",
    "input_tokens": "1200",
    "output_tokens": 34,
    "cache_read_tokens": "56000",
    "cache_creation_tokens": 78,
    "cost_usd": "0.0421",
    "duration_ms": "2345",
    "ttft_ms": 612.0,
    "query_source": "repl_main_thread",
    "prompt": SECRET,
}
TOOL_RESULT = {
    "tool_name": "Bash",
    "tool_use_id": "toolu_01",
    "success": "false",
    "duration_ms": "87",
    "tool_input_size_bytes": 41,
    "tool_result_size_bytes": "9001",
    "error_type": "Error:ENOENT",
    "error": f"cat: {SECRET}: No such file",
    "tool_parameters": f'{{"command": "cat {SECRET}"}}',
}


def read(signal: Signal, encoding: Encoding, document: Mapping[str, Any]) -> Decoded:
    return decode(signal, encoding, encoded(signal, encoding, document), NOW_NS)


def one_log(encoding: Encoding, name: str, own: Mapping[str, Any]) -> Any:
    (record,) = read(Signal.LOGS, encoding, logs(event(name, 7, own))).records
    return record


@BOTH
def test_api_request(encoding: Encoding) -> None:
    call = one_log(encoding, "api_request", API_REQUEST)
    assert isinstance(call, ApiCall)
    assert msgspec.structs.replace(call, ident="") == ApiCall(
        time_ns=TIME_NS + 7,
        session=SESSION,
        model="claude-opus-4-8",
        source=Source.TELEMETRY,
        ident="",
        duration_ms=2345,
        ttft_ms=612,
        input_tokens=1200,
        output_tokens=34,
        cache_read_tokens=56000,
        cache_creation_tokens=78,
        cost_usd=0.0421,
        ok=True,
        prompt="p1",
    )


@BOTH
@pytest.mark.parametrize(
    ("own", "error"),
    [
        ({"status_code": "529", "error": f"overloaded {SECRET}"}, "529"),
        ({"error_type": "overloaded_error"}, "overloaded_error"),
        ({"error": f"cannot read {SECRET} now"}, "error"),
        ({}, "error"),
    ],
)
def test_api_error_keeps_a_code_and_no_message(
    encoding: Encoding, own: dict[str, str], error: str
) -> None:
    call = one_log(encoding, "api_error", {"model": "m", "duration_ms": 5, **own})
    assert isinstance(call, ApiCall)
    assert (call.ok, call.error, call.duration_ms) == (False, error, 5)


@BOTH
def test_tool_result(encoding: Encoding) -> None:
    assert one_log(encoding, "tool_result", TOOL_RESULT) == ToolCall(
        time_ns=TIME_NS + 7,
        session=SESSION,
        tool="Bash",
        source=Source.TELEMETRY,
        ident="toolu_01",
        duration_ms=87,
        ok=False,
        error="Error:ENOENT",
        input_bytes=41,
        result_bytes=9001,
        prompt="p1",
    )


@BOTH
def test_compaction(encoding: Encoding) -> None:
    own = {
        "trigger": "auto",
        "success": True,
        "duration_ms": 8123,
        "pre_tokens": "120000",
        "post_tokens": 9000,
    }
    record = one_log(encoding, "compaction", own)
    assert isinstance(record, Compaction)
    assert (record.trigger, record.ok, record.duration_ms) == ("auto", True, 8123)
    assert (record.pre_tokens, record.post_tokens) == (120_000, 9000)


@BOTH
def test_other_events_keep_names_and_numbers(encoding: Encoding) -> None:
    own = {
        "hook_event": "PreToolUse",
        "hook_name": "PreToolUse:Bash",
        "num_hooks": "3",
        "num_success": 2,
        "total_duration_ms": "41.5",
        "hook_definitions": f'[{{"command": "{SECRET}"}}]',
        "prompt": SECRET,
        "unheard_of": SECRET,
    }
    record = one_log(encoding, "hook_execution_complete", own)
    assert isinstance(record, ClientEvent)
    assert record.attributes == {
        "hook_event": "PreToolUse",
        "hook_name": "PreToolUse:Bash",
        "num_hooks": 3,
        "num_success": 2,
        "total_duration_ms": 41.5,
        "client_version": "2.1.330",
    }


@BOTH
def test_user_prompt_is_a_length(encoding: Encoding) -> None:
    record = one_log(encoding, "user_prompt", {"prompt": SECRET, "prompt_length": "18"})
    assert record.attributes["prompt_length"] == 18
    assert SECRET not in repr(record)


@BOTH
def test_nothing_of_anybody_is_kept(encoding: Encoding) -> None:
    own = {**API_REQUEST, **TOOL_RESULT, "command": SECRET, "path": f"/home/{SECRET}"}
    names = (
        "api_request",
        "api_error",
        "tool_result",
        "tool_decision",
        "internal_error",
        "brand_new",
    )
    found = [
        *read(Signal.LOGS, encoding, logs(*(event(name, 1, own) for name in names))).records,
        *read(Signal.METRICS, encoding, metrics(metric("cost.usage", [(1.0, own)]))).records,
        *read(Signal.TRACES, encoding, traces(span("tool", 1, own))).records,
    ]
    assert len(found) == len(names) + 2
    assert SECRET not in repr(found)


@BOTH
def test_names_that_are_no_names_are_dropped(encoding: Encoding) -> None:
    for bad in (
        "rm -rf $HOME; true",
        "a\nb",
        "x" * 129,
        'say "hi"',
        "<script>",
        "~user",
        "me@x.org",
    ):
        record = one_log(encoding, "tool_decision", {"tool_name": bad, "decision": "accept"})
        assert "tool_name" not in record.attributes
        assert record.attributes["decision"] == "accept"


@BOTH
def test_metric_points(encoding: Encoding) -> None:
    points = [(120.0, {"type": "input", "model": "m"}), (7.0, {"type": "output", "model": "m"})]
    decoded = read(Signal.METRICS, encoding, metrics(metric("token.usage", points)))
    assert decoded.rejected == 0
    point = decoded.records[0]
    assert isinstance(point, MetricPoint)
    assert (point.time_ns, point.session, point.name) == (TIME_NS, SESSION, "token.usage")
    assert point.value == 120.0
    assert point.attributes == {"type": "input", "model": "m"}
    assert isinstance(decoded.records[1], MetricPoint)
    assert decoded.records[1].value == 7.0


def test_points_that_differ_only_in_what_is_not_kept_are_added_up() -> None:
    one = metric("token.usage", [(120.0, {"type": "input", "who": "a"})])
    other = metric("token.usage", [(7.0, {"type": "input", "who": "b"})])
    (record,) = read(Signal.METRICS, Encoding.JSON, metrics(one, other)).records
    assert isinstance(record, MetricPoint)
    assert record.value == 127.0


@BOTH
def test_cumulative_sums_and_histograms_are_refused_and_counted(encoding: Encoding) -> None:
    cumulative = metric("token.usage", [(1.0, {}), (2.0, {})], temporality=2)
    histogram = {"name": "claude_code.x", "histogram": {"dataPoints": [{"count": "1"}]}}
    good = metric("session.count", [(1.0, {})])
    decoded = read(Signal.METRICS, encoding, metrics(cumulative, histogram, good))
    assert len(decoded.records) == 1
    assert decoded.rejected == 3
    assert "delta" in decoded.reason


@BOTH
def test_gauges_and_whole_numbers(encoding: Encoding) -> None:
    point = {"timeUnixNano": str(TIME_NS), "asInt": "42"}
    gauge = {"name": "claude_code.level", "gauge": {"dataPoints": [point]}}
    (record,) = read(Signal.METRICS, encoding, metrics(gauge)).records
    assert isinstance(record, MetricPoint)
    assert record.value == 42.0


@BOTH
def test_spans_become_events(encoding: Encoding) -> None:
    own = {"model": "m", "ttft_ms": 600}
    (record,) = read(Signal.TRACES, encoding, traces(span("llm_request", 9, own, status=2))).records
    assert isinstance(record, ClientEvent)
    assert (record.name, record.session, record.time_ns) == ("span.llm_request", SESSION, TIME_NS)
    assert record.attributes["duration_ms"] == 1.5
    assert record.attributes["ttft_ms"] == 600
    assert record.attributes["success"] is False


def test_both_encodings_give_the_same_records() -> None:
    document = logs(event("api_request", 1, API_REQUEST), event("tool_decision", 2, TOOL_RESULT))
    one, other = (read(Signal.LOGS, encoding, document) for encoding in Encoding)
    assert one == other


def test_a_repeated_body_has_the_same_idents_and_another_event_another() -> None:
    first = read(Signal.LOGS, Encoding.JSON, logs(event("api_request", 1, API_REQUEST))).records
    again = read(Signal.LOGS, Encoding.JSON, logs(event("api_request", 1, API_REQUEST))).records
    other = read(Signal.LOGS, Encoding.JSON, logs(event("api_request", 2, API_REQUEST))).records
    assert first == again
    assert isinstance(first[0], ApiCall) and isinstance(other[0], ApiCall)
    assert first[0].ident != other[0].ident


def test_events_without_sequence_are_told_apart_by_what_they_say() -> None:
    def bare(cost: float) -> dict[str, Any]:
        own = {"session.id": SESSION, "event.name": "api_request", "cost_usd": cost}
        return {"timeUnixNano": str(TIME_NS), "attributes": attributes(own)}

    records = read(Signal.LOGS, Encoding.JSON, logs(bare(1.0), bare(2.0), bare(1.0))).records
    idents = [record.ident for record in records if isinstance(record, ApiCall)]
    assert idents[0] == idents[2] != idents[1]


def test_the_name_is_found_wherever_it_stands() -> None:
    by_field = {"eventName": "claude_code.user_prompt", "timeUnixNano": "1"}
    by_body = {"body": {"stringValue": "claude_code.user_prompt"}, "timeUnixNano": "1"}
    foreign = {"body": {"stringValue": f"GET /{SECRET} 200"}, "timeUnixNano": "1"}
    decoded = read(Signal.LOGS, Encoding.JSON, logs(by_field, by_body, foreign))
    assert [getattr(record, "name", "") for record in decoded.records] == ["user_prompt"] * 2
    assert decoded.rejected == 1
    assert SECRET not in decoded.reason


def test_what_has_no_time_is_dated_by_its_arrival() -> None:
    document = logs({"attributes": attributes({"event.name": "user_prompt"})})
    (record,) = read(Signal.LOGS, Encoding.JSON, document).records
    assert isinstance(record, ClientEvent)
    assert record.time_ns == NOW_NS


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 50_000]
)
@pytest.mark.parametrize("signal", list(Signal))
def test_what_is_no_json_object_is_refused(signal: Signal, body: bytes) -> None:
    with pytest.raises(BadBodyError) as caught:
        decode(signal, Encoding.JSON, body, NOW_NS)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("signal", list(Signal))
def test_protobuf_that_is_none_is_refused_and_an_empty_one_is_empty(signal: Signal) -> None:
    with pytest.raises(BadBodyError):
        decode(signal, Encoding.PROTOBUF, b"\xff\xff\xff", NOW_NS)
    assert decode(signal, Encoding.PROTOBUF, b"", NOW_NS) == Decoded(())


def test_items_of_another_shape_are_passed_over() -> None:
    document = {
        "resourceLogs": [
            7,
            {
                "resource": 1,
                "scopeLogs": [None, {"logRecords": ["x", event("user_prompt", 1, {})]}],
            },
            {"resource": {"attributes": attributes(RESOURCE)}, "scopeLogs": {"logRecords": []}},
        ]
    }
    decoded = read(Signal.LOGS, Encoding.JSON, document)
    assert len(decoded.records) == 1
    assert decoded.rejected == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("12", 12),
        (12, 12),
        ("1e3", 1000.0),
        (10**30, 2**63 - 1),
        (-(10**30), -(2**63)),
        ("9" * 5000, None),
        ("nan", None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ([], None),
        ("", None),
    ],
)
def test_numbers_are_what_sqlite_can_hold(given: object, expected: float | None) -> None:
    assert number(given) == expected


def test_counts_are_never_negative() -> None:
    assert integer("-5") == 0
    assert integer(1e300) == 2**63 - 1


def test_answers() -> None:
    assert accepted(Signal.LOGS, Encoding.JSON, 0, "") == b"{}"
    assert accepted(Signal.LOGS, Encoding.PROTOBUF, 0, "") == b""
    partial = msgspec.json.decode(accepted(Signal.METRICS, Encoding.JSON, 3, "why"))
    assert partial == {"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "why"}}
    assert msgspec.json.decode(refused(Encoding.JSON, "no")) == {"message": "no"}


def test_protobuf_answers_are_what_the_exporter_parses() -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )

    response = ExportTraceServiceResponse()
    response.ParseFromString(accepted(Signal.TRACES, Encoding.PROTOBUF, 300, "é" * 200))
    assert response.partial_success.rejected_spans == 300
    assert response.partial_success.error_message == "é" * 200
    assert refused(Encoding.PROTOBUF, "no") == b"\x12\x02no"
