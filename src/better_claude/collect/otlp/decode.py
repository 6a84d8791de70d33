"""One request body to records: the receiver's pure core."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from better_claude.collect.otlp.entries import (
    Encoding,
    Entry,
    LogEntry,
    PointEntry,
    Signal,
    SpanEntry,
    Unusable,
)
from better_claude.collect.otlp.records import from_log, from_point, from_span
from better_claude.collect.otlp.wire_json import read_json
from better_claude.model import MetricPoint, Record


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was in a body: records in its order, how many items were refused, and why the first."""

    records: tuple[Record, ...]
    rejected: int = 0
    reason: str = ""


def decode(signal: Signal, encoding: Encoding, body: bytes, received_ns: int) -> Decoded:
    """Return the records of one unpacked body; ``received_ns`` dates items without a time.

    Raises BadBodyError if the body is not OTLP in this encoding. An empty body of protobuf is an
    empty request, as OTLP says.
    """
    records: list[Record] = []
    refused: list[Unusable] = []
    for entry in _read(signal, encoding, body):
        made = _record(entry, received_ns)
        if isinstance(made, Unusable):
            refused.append(made)
        else:
            records.append(made)
    return Decoded(
        tuple(_added_up(records)),
        rejected=sum(one.count for one in refused),
        reason=refused[0].reason if refused else "",
    )


def _added_up(records: list[Record]) -> Iterator[Record]:
    """Yield the records; metric points that differ only in what is not kept become one."""
    sums: dict[tuple[object, ...], MetricPoint] = {}
    for record in records:
        if not isinstance(record, MetricPoint):
            yield record
            continue
        own = (record.session, record.name, record.time_ns, *sorted(record.attributes.items()))
        before = sums.get(own)
        value = record.value + (before.value if before is not None else 0.0)
        sums[own] = msgspec.structs.replace(record, value=value)
    yield from sums.values()


def _read(signal: Signal, encoding: Encoding, body: bytes) -> Iterator[Entry]:
    if encoding is Encoding.JSON:
        return read_json(signal, body)
    from better_claude.collect.otlp.wire_protobuf import read_protobuf

    return read_protobuf(signal, body)


def _record(entry: Entry, received_ns: int) -> Record | Unusable:
    match entry:
        case LogEntry():
            return from_log(entry, received_ns)
        case SpanEntry():
            return from_span(entry)
        case PointEntry():
            return from_point(entry, received_ns)
        case Unusable():
            return entry
