"""Make records of entries: what each of Claude Code's events, spans and metrics means."""

import hashlib
import re
from collections.abc import Callable

from better_claude.collect.otlp.attributes import code, flag, integer, kept, real, text
from better_claude.collect.otlp.entries import (
    Attributes,
    LogEntry,
    PointEntry,
    SpanEntry,
    Unusable,
)
from better_claude.model import (
    ApiCall,
    ClientEvent,
    Compaction,
    MetricPoint,
    Record,
    Source,
    ToolCall,
)

PREFIX = "claude_code."
FOREIGN = "an event, span or metric that is not Claude Code's"
_NAME = re.compile(r"[a-z0-9_.]{1,64}")


def from_log(entry: LogEntry, received_ns: int) -> Record | Unusable:
    """Return the record of one event; a log record without a name of the client's is unusable."""
    name = entry.name.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        return Unusable(FOREIGN)
    make = _MAKERS.get(name, _client_event)
    time_ns = entry.time_ns or received_ns
    return make(name, time_ns, _ident(name, entry.time_ns, entry.attributes), entry.attributes)


def from_span(entry: SpanEntry) -> Record | Unusable:
    """Return one span as an event ``span.<name>`` with its duration; without ids it is unusable."""
    name = entry.name.removeprefix(PREFIX)
    if not _NAME.fullmatch(name) or not entry.span:
        return Unusable(FOREIGN)
    duration_ms = max(0, entry.end_ns - entry.start_ns) / 1e6
    attributes = kept(entry.attributes) | {"duration_ms": duration_ms, "success": entry.ok}
    return ClientEvent(
        time_ns=integer(entry.start_ns),
        session=_session(entry.attributes),
        name=f"span.{name}",
        source=Source.TELEMETRY,
        ident=_digest("span", entry.trace, entry.span),
        attributes=attributes,
    )


def from_point(entry: PointEntry, received_ns: int) -> Record | Unusable:
    """Return one number of a metric of the client's; another program's is unusable."""
    name = entry.name.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        return Unusable(FOREIGN)
    return MetricPoint(
        time_ns=entry.time_ns or received_ns,
        session=_session(entry.attributes),
        name=name,
        value=entry.value,
        attributes=kept(entry.attributes),
    )


def _api_request(name: str, time_ns: int, ident: str, own: Attributes) -> Record:
    ok = name == "api_request"
    reason = own.get("error_type") or own.get("status_code") or own.get("error")
    return ApiCall(
        time_ns=time_ns,
        session=_session(own),
        model=text(own.get("model")),
        source=Source.TELEMETRY,
        ident=ident,
        duration_ms=integer(own.get("duration_ms")),
        ttft_ms=integer(own.get("ttft_ms")),
        input_tokens=integer(own.get("input_tokens")),
        output_tokens=integer(own.get("output_tokens")),
        cache_read_tokens=integer(own.get("cache_read_tokens")),
        cache_creation_tokens=integer(own.get("cache_creation_tokens")),
        cost_usd=real(own.get("cost_usd")),
        ok=ok,
        error="" if ok else code(reason, "error"),
        prompt=text(own.get("prompt.id")),
        agent=_agent(own),
    )


def _tool_result(name: str, time_ns: int, ident: str, own: Attributes) -> Record:
    ok = flag(own.get("success"), otherwise=True)
    return ToolCall(
        time_ns=time_ns,
        session=_session(own),
        tool=text(own.get("tool_name")),
        source=Source.TELEMETRY,
        ident=text(own.get("tool_use_id")) or ident,
        duration_ms=integer(own.get("duration_ms")),
        ok=ok,
        error="" if ok else code(own.get("error_type"), "error"),
        input_bytes=integer(own.get("tool_input_size_bytes")),
        result_bytes=integer(own.get("tool_result_size_bytes")),
        prompt=text(own.get("prompt.id")),
        agent=_agent(own),
    )


def _compaction(name: str, time_ns: int, ident: str, own: Attributes) -> Record:
    return Compaction(
        time_ns=time_ns,
        session=_session(own),
        source=Source.TELEMETRY,
        ident=ident,
        trigger=code(own.get("trigger"), ""),
        pre_tokens=integer(own.get("pre_tokens")),
        post_tokens=integer(own.get("post_tokens")),
        duration_ms=integer(own.get("duration_ms")),
        ok=flag(own.get("success"), otherwise=True),
    )


def _client_event(name: str, time_ns: int, ident: str, own: Attributes) -> Record:
    attributes = kept(own)
    version = code(own.get("app.version") or own.get("service.version"), "")
    if version:
        attributes["client_version"] = version
    return ClientEvent(
        time_ns=time_ns,
        session=_session(own),
        name=name,
        source=Source.TELEMETRY,
        ident=ident,
        attributes=attributes,
    )


_MAKERS: dict[str, Callable[[str, int, str, Attributes], Record]] = {
    "api_request": _api_request,
    "api_error": _api_request,
    "tool_result": _tool_result,
    "compaction": _compaction,
}


def _session(own: Attributes) -> str:
    return text(own.get("session.id"))


def _agent(own: Attributes) -> str:
    return text(own.get("agent.id") or own.get("agent_id"))


def _ident(name: str, time_ns: int, own: Attributes) -> str:
    """Return what tells one event from all others and is the same when the exporter repeats it.

    A resumed session counts ``event.sequence`` from the start again, so the time is part of it.
    Where the client gives no sequence, all attributes are.
    """
    sequence = own.get("event.sequence")
    rest = repr(sorted(own.items())) if sequence is None else str(sequence)
    return _digest(_session(own), name, str(time_ns), rest)


def _digest(*parts: str) -> str:
    joined = "\0".join(parts).encode("utf-8", "replace")
    return hashlib.blake2b(joined, digest_size=16).hexdigest()
