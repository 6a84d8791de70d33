"""OTLP's JSON encoding to entries; what has another shape is passed over or counted."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

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

_CUMULATIVE = (TEMPORALITY_CUMULATIVE, "AGGREGATION_TEMPORALITY_CUMULATIVE")
_ERROR = (STATUS_ERROR, "STATUS_CODE_ERROR")


def read_json(signal: Signal, body: bytes) -> Iterator[Entry]:
    """Yield the entries of one body; raises BadBodyError if it is not a JSON object."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # msgspec quotes no input in its messages.
        raise BadBodyError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise BadBodyError("not a JSON object")
    resources, scopes, items, read = _SHAPES[signal]
    for resource in _objects(document, resources):
        if not isinstance(resource, dict):
            yield Unusable(MISSHAPEN)
            continue
        shared = _attributes(_object(resource, "resource"))
        for scope in _objects(resource, scopes):
            for item in _objects(scope, items):
                yield from read(item, shared) if isinstance(item, dict) else (Unusable(MISSHAPEN),)


def _read_log(item: dict[str, Any], shared: dict[str, Scalar]) -> Iterator[Entry]:
    attributes = shared | _attributes(item)
    time_ns = integer(item.get("timeUnixNano")) or integer(item.get("observedTimeUnixNano"))
    body = _object(item, "body").get("stringValue")
    yield LogEntry(event_name(attributes, item.get("eventName"), body), time_ns, attributes)


def _read_span(item: dict[str, Any], shared: dict[str, Scalar]) -> Iterator[Entry]:
    yield SpanEntry(
        name=_text(item.get("name")),
        trace=_text(item.get("traceId")),
        span=_text(item.get("spanId")),
        start_ns=integer(item.get("startTimeUnixNano")),
        end_ns=integer(item.get("endTimeUnixNano")),
        ok=_plain(_object(item, "status").get("code")) not in _ERROR,
        attributes=shared | _attributes(item),
    )


def _read_metric(item: dict[str, Any], shared: dict[str, Scalar]) -> Iterator[Entry]:
    sums = _object(item, "sum")
    kind = sums or _object(item, "gauge")
    points = _objects(kind, "dataPoints")
    if not kind:
        yield Unusable(NO_NUMBER)
    elif _plain(sums.get("aggregationTemporality")) in _CUMULATIVE:
        yield Unusable(CUMULATIVE, len(points))
    else:
        name = _text(item.get("name"))
        for point in points:
            yield _point(name, point, shared) if isinstance(point, dict) else Unusable(MISSHAPEN)


def _point(name: str, point: dict[str, Any], shared: dict[str, Scalar]) -> Entry:
    raw = point.get("asDouble") if "asDouble" in point else point.get("asInt")
    value = number(raw)
    if value is None:
        return Unusable(MISSHAPEN)
    time_ns = integer(point.get("timeUnixNano"))
    return PointEntry(name, time_ns, float(value), shared | _attributes(point))


def event_name(attributes: dict[str, Scalar], field: object, body: object) -> str:
    """Return an event's name: its attribute, the newer field, or the body, which repeats it."""
    for candidate in (attributes.get("event.name"), field, body):
        if isinstance(candidate, str) and candidate:
            return candidate
    return ""


def _attributes(owner: dict[str, Any]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for pair in _objects(owner, "attributes"):
        if isinstance(pair, dict) and isinstance(key := pair.get("key"), str):
            value = _scalar(pair.get("value"))
            if value is not None:
                found[key] = value
    return found


def _scalar(value: object) -> Scalar | None:
    if not isinstance(value, dict):
        return None
    if isinstance(text := value.get("stringValue"), str):
        return text
    if isinstance(flag := value.get("boolValue"), bool):
        return flag
    return number(value.get("intValue") if "intValue" in value else value.get("doubleValue"))


def _object(owner: dict[str, Any], name: str) -> dict[str, Any]:
    value = owner.get(name)
    return value if isinstance(value, dict) else {}


def _objects(owner: object, name: str) -> list[Any]:
    value = owner.get(name) if isinstance(owner, dict) else None
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _plain(value: object) -> object:
    # An unhashable or huge value never equals a code; comparing it is all that is done with it.
    return value if isinstance(value, int | str) else None


_Read = Callable[[dict[str, Any], dict[str, Scalar]], Iterator[Entry]]
_SHAPES: dict[Signal, tuple[str, str, str, _Read]] = {
    Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords", _read_log),
    Signal.TRACES: ("resourceSpans", "scopeSpans", "spans", _read_span),
    Signal.METRICS: ("resourceMetrics", "scopeMetrics", "metrics", _read_metric),
}
