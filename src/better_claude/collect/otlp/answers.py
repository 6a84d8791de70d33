"""The bodies with which an OTLP receiver answers (OTLP specification 1.x, OTLP/HTTP response)."""

import msgspec

from better_claude.collect.otlp.entries import Encoding, Signal

_REJECTED = {
    Signal.METRICS: "rejectedDataPoints",
    Signal.LOGS: "rejectedLogRecords",
    Signal.TRACES: "rejectedSpans",
}


def accepted(signal: Signal, encoding: Encoding, rejected: int, reason: str) -> bytes:
    """Return the body of a 200: empty, or a partial success that counts what was refused."""
    if encoding is Encoding.JSON:
        if not rejected:
            return b"{}"
        # 64-bit integers are strings in protobuf's JSON mapping.
        partial = {_REJECTED[signal]: str(rejected), "errorMessage": reason}
        return msgspec.json.encode({"partialSuccess": partial})
    if not rejected:
        return b""
    return _field(1, b"\x08" + _varint(rejected) + _field(2, reason.encode()))


def refused(encoding: Encoding, message: str) -> bytes:
    """Return the body of a 4xx or 5xx: a ``google.rpc.Status`` with its message."""
    if encoding is Encoding.JSON:
        return msgspec.json.encode({"message": message})
    return _field(2, message.encode())


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
