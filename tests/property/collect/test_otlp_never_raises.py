"""Whatever is sent, the decoder refuses it or makes records that the store can hold."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.otlp_bodies import API_SHAPES, encoded, event, logs

from better_claude.collect.otlp.decode import decode
from better_claude.collect.otlp.entries import BadBodyError, Encoding, Signal
from better_claude.model import Record

SIGNALS = st.sampled_from(list(Signal))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
# The words that the decoder looks for, so that arbitrary JSON gets past its first step.
WORDS = st.sampled_from(API_SHAPES)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=40,
)
SCALARS = st.text(max_size=300) | st.integers() | st.floats() | st.booleans()


def check(records: tuple[Record, ...]) -> None:
    """Fail for a value that SQLite cannot hold or that is no text."""
    for record in records:
        for value in _leaves(msgspec.structs.asdict(record)):
            if isinstance(value, int):
                assert -(2**63) <= value < 2**63
            elif isinstance(value, float):
                assert value - value == 0.0
            elif isinstance(value, str):
                value.encode()
                assert len(value) <= 256


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    return [value]


def survive(signal: Signal, encoding: Encoding, body: bytes) -> None:
    try:
        decoded = decode(signal, encoding, body, 1)
    except BadBodyError:
        return
    assert decoded.rejected >= 0
    check(decoded.records)


@given(SIGNALS, st.sampled_from(list(Encoding)), st.binary(max_size=300))
def test_any_bytes(signal: Signal, encoding: Encoding, body: bytes) -> None:
    survive(signal, encoding, body)


@settings(max_examples=300)
@given(SIGNALS, DOCUMENTS)
def test_any_json(signal: Signal, document: Any) -> None:
    import json

    # json, not msgspec, writes NaN, infinities and numbers of any length.
    survive(signal, Encoding.JSON, json.dumps(document).encode())
    wrapped: Any = document
    for name in reversed(_PATHS[signal]):
        wrapped = {name: [wrapped]}
    survive(signal, Encoding.JSON, json.dumps(wrapped).encode())


_PATHS = {
    Signal.LOGS: ("resourceLogs", "scopeLogs", "logRecords"),
    Signal.METRICS: ("resourceMetrics", "scopeMetrics", "metrics"),
    Signal.TRACES: ("resourceSpans", "scopeSpans", "spans"),
}


@given(
    st.sampled_from(["api_request", "api_error", "tool_result", "compaction", "user_prompt", "x"]),
    st.dictionaries(
        st.sampled_from(
            ["model", "cost_usd", "duration_ms", "session.id", "prompt.id", "tool_name"]
        )
        | st.text(max_size=8),
        SCALARS,
        max_size=8,
    ),
)
def test_any_attributes(name: str, own: dict[str, Any]) -> None:
    document = logs(event(name, 1, own))
    survive(Signal.LOGS, Encoding.JSON, encoded(Signal.LOGS, Encoding.JSON, document))


@given(SIGNALS, st.binary(min_size=1, max_size=40), st.integers(0, 2000), st.integers(1, 40))
def test_broken_protobuf(signal: Signal, noise: bytes, at: int, length: int) -> None:
    body = encoded(Signal.LOGS, Encoding.PROTOBUF, logs(event("api_request", 1, {"model": "m"})))
    at %= len(body)
    survive(signal, Encoding.PROTOBUF, body[:at] + noise + body[at + length :])
