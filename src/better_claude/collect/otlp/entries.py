"""What both encodings of OTLP come down to before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Scalar = str | int | float | bool
Attributes = Mapping[str, Scalar]


class Signal(StrEnum):
    """The three kinds of OTLP bodies, named as in the endpoints' paths."""

    METRICS = "metrics"
    LOGS = "logs"
    TRACES = "traces"


class Encoding(StrEnum):
    """How a body is written: its media type."""

    JSON = "application/json"
    PROTOBUF = "application/x-protobuf"


class BadBodyError(ValueError):
    """A body that is not OTLP at all; the message says where it goes wrong and quotes nothing."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One log record; ``name`` is the event's, from wherever it stood; ``time_ns`` 0 if absent."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class SpanEntry:
    """One span; times are ns since the epoch, ids hexadecimal."""

    name: str
    trace: str
    span: str
    start_ns: int
    end_ns: int
    ok: bool
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class PointEntry:
    """One number of a metric."""

    name: str
    time_ns: int
    value: float
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Unusable:
    """A part of a body that is counted as rejected, and why."""

    reason: str
    count: int = 1


Entry = LogEntry | SpanEntry | PointEntry | Unusable

CUMULATIVE = "a sum of cumulative temporality; the client's default is delta"
NO_NUMBER = "a metric that is neither a sum nor a gauge"
MISSHAPEN = "an item that is not shaped as OTLP says"
# AggregationTemporality and StatusCode of opentelemetry-proto.
TEMPORALITY_CUMULATIVE = 2
STATUS_ERROR = 2
