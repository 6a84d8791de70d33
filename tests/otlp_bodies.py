"""OTLP bodies in the shape in which Claude Code sends them, in both encodings."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from better_claude.collect.otlp.entries import Encoding, Signal

SESSION = "5b1c7d32-0000-4000-8000-000000000001"
TIME_NS = 1_700_000_000_000_000_000
SECRET = "hunter2-the-prompt"

RESOURCE = {
    "service.name": "claude-code",
    "service.version": "2.1.330",
    "host.arch": "amd64",
}
# What stands beside each event; none of it may be stored but session, prompt and sequence.
COMMON = {
    "user.id": SECRET,
    "user.email": f"{SECRET}@example.com",
    "user.account_uuid": SECRET,
    "organization.id": SECRET,
    "session.id": SESSION,
    "prompt.id": "p1",
    "terminal.type": "tmux",
}
_REQUESTS = {
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
    Signal.TRACES: ExportTraceServiceRequest,
}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON writes them."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}


def event(name: str, sequence: int, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return one log record of the client's."""
    known = {**COMMON, "event.name": name, "event.sequence": sequence, **own}
    return {
        "timeUnixNano": str(TIME_NS + sequence),
        "observedTimeUnixNano": str(TIME_NS + sequence + 1),
        "body": {"stringValue": f"claude_code.{name}"},
        "attributes": attributes(known),
    }


def logs(*records: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole body of log records."""
    scope = {"scope": {"name": "com.anthropic.claude_code.events"}, "logRecords": list(records)}
    resource = {"attributes": attributes(RESOURCE)}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}


def metric(
    name: str, points: Sequence[tuple[float, Mapping[str, Any]]], temporality: int = 1
) -> Any:
    """Return one metric that is a sum."""
    rows = [
        {
            "startTimeUnixNano": str(TIME_NS - 10**9),
            "timeUnixNano": str(TIME_NS + place),
            "asDouble": value,
            "attributes": attributes({**COMMON, **own}),
        }
        for place, (value, own) in enumerate(points)
    ]
    summed = {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": rows}
    return {"name": f"claude_code.{name}", "unit": "tokens", "sum": summed}


def metrics(*several: Any) -> dict[str, Any]:
    """Return a whole body of metrics."""
    scope = {"scope": {"name": "com.anthropic.claude_code"}, "metrics": list(several)}
    resource = {"attributes": attributes(RESOURCE)}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}


def span(name: str, number: int, own: Mapping[str, Any], status: int = 0) -> dict[str, Any]:
    """Return one span of 1.5 ms."""
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": f"claude_code.{name}",
        "kind": 1,
        "startTimeUnixNano": str(TIME_NS),
        "endTimeUnixNano": str(TIME_NS + 1_500_000),
        "attributes": attributes({**COMMON, **own}),
        "status": {"code": status},
    }


def traces(*spans: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole body of spans."""
    scope = {"scope": {"name": "com.anthropic.claude_code.tracing"}, "spans": list(spans)}
    resource = {"attributes": attributes(RESOURCE)}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def encoded(signal: Signal, encoding: Encoding, document: Mapping[str, Any]) -> bytes:
    """Return a body in one of both encodings."""
    if encoding is Encoding.JSON:
        return msgspec.json.encode(document)
    message: Any = _REQUESTS[signal]()
    # OTLP/JSON writes ids in hexadecimal, protobuf's own mapping in base64.
    ParseDict(_with_base64_ids(document), message)
    return bytes(message.SerializeToString())


def _with_base64_ids(value: Any) -> Any:
    import base64

    if isinstance(value, Mapping):
        return {
            key: base64.b64encode(bytes.fromhex(item)).decode()
            if key in ("traceId", "spanId")
            else _with_base64_ids(item)
            for key, item in value.items()
        }
    return [_with_base64_ids(item) for item in value] if isinstance(value, list) else value


# Names of members that mean something to a reader of OTLP/JSON.
API_SHAPES = (
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
    "resourceSpans",
    "scopeSpans",
    "spans",
    "resource",
    "attributes",
    "key",
    "value",
    "stringValue",
    "intValue",
    "doubleValue",
    "boolValue",
    "body",
    "eventName",
    "timeUnixNano",
    "startTimeUnixNano",
    "endTimeUnixNano",
    "name",
    "traceId",
    "spanId",
    "status",
    "code",
    "sum",
    "gauge",
    "dataPoints",
    "asDouble",
    "asInt",
    "aggregationTemporality",
    "event.name",
)
