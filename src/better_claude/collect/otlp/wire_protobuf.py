"""OTLP's protobuf encoding to entries. Imported with the first protobuf body: 2 MB and 30 ms."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from better_claude.collect.otlp.attributes import integer, number
from better_claude.collect.otlp.entries import (
    CUMULATIVE,
    MISSHAPEN,
    NO_NUMBER,
    STATUS_ERROR,
    TEMPORALITY_CUMULATIVE,
    BadBodyError,
    Entry,
    LogEntry,
    PointEntry,
    Scalar,
    Signal,
    SpanEntry,
    Unusable,
)
from better_claude.collect.otlp.wire_json import event_name


def read_protobuf(signal: Signal, body: bytes) -> Iterator[Entry]:
    """Yield the entries of one body; raises BadBodyError if it is not such a message."""
    request_type, resources, scopes, items, read = _SHAPES[signal]
    request = request_type()
    try:
        request.ParseFromString(body)
    except (DecodeError, RecursionError) as error:
        raise BadBodyError("not an OTLP protobuf message") from error
    for resource in getattr(request, resources):
        shared = _attributes(resource.resource.attributes)
        for scope in getattr(resource, scopes):
            for item in getattr(scope, items):
                yield from read(item, shared)


def _read_log(item: Any, shared: dict[str, Scalar]) -> Iterator[Entry]:
    attributes = shared | _attributes(item.attributes)
    name = event_name(attributes, getattr(item, "event_name", ""), item.body.string_value)
    time_ns = integer(item.time_unix_nano or item.observed_time_unix_nano)
    yield LogEntry(name, time_ns, attributes)


def _read_span(item: Any, shared: dict[str, Scalar]) -> Iterator[Entry]:
    yield SpanEntry(
        name=item.name,
        trace=item.trace_id.hex(),
        span=item.span_id.hex(),
        start_ns=integer(item.start_time_unix_nano),
        end_ns=integer(item.end_time_unix_nano),
        ok=item.status.code != STATUS_ERROR,
        attributes=shared | _attributes(item.attributes),
    )


def _read_metric(item: Any, shared: dict[str, Scalar]) -> Iterator[Entry]:
    kind = item.WhichOneof("data")
    if kind not in ("sum", "gauge"):
        yield Unusable(NO_NUMBER)
        return
    points = getattr(item, kind).data_points
    if kind == "sum" and item.sum.aggregation_temporality == TEMPORALITY_CUMULATIVE:
        yield Unusable(CUMULATIVE, len(points))
        return
    for point in points:
        value = number(
            point.as_double if point.WhichOneof("value") == "as_double" else point.as_int
        )
        if value is None:
            yield Unusable(MISSHAPEN)
        else:
            attributes = shared | _attributes(point.attributes)
            time_ns = integer(point.time_unix_nano)
            yield PointEntry(item.name, time_ns, float(value), attributes)


def _attributes(pairs: Iterable[Any]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        if kind in ("string_value", "bool_value"):
            found[pair.key] = getattr(pair.value, kind)
        elif kind in ("int_value", "double_value"):
            value = number(getattr(pair.value, kind))
            if value is not None:
                found[pair.key] = value
    return found


_Read = Callable[[Any, dict[str, Scalar]], Iterator[Entry]]
_SHAPES: dict[Signal, tuple[Callable[[], Any], str, str, str, _Read]] = {
    Signal.LOGS: (
        ExportLogsServiceRequest,
        "resource_logs",
        "scope_logs",
        "log_records",
        _read_log,
    ),
    Signal.TRACES: (
        ExportTraceServiceRequest,
        "resource_spans",
        "scope_spans",
        "spans",
        _read_span,
    ),
    Signal.METRICS: (
        ExportMetricsServiceRequest,
        "resource_metrics",
        "scope_metrics",
        "metrics",
        _read_metric,
    ),
}
