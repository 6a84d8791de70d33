"""Turn records into rows of their tables."""

import json
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

from better_claude.model import (
    ApiCall,
    ClientEvent,
    Compaction,
    HistoryRun,
    MetricPoint,
    Mode,
    Record,
    Run,
    RunStart,
    SessionSample,
    ToolCall,
)
from better_claude.store.codes import (
    ANON_SOURCE_CODE,
    BREACH_CODE,
    EXEC_CODE,
    OUTCOME_CODE,
    SOURCE_CODE,
    signed_run,
)
from better_claude.store.interning import Interner, storable
from better_claude.store.rollup import LARGEST, RunRow
from better_claude.store.sessions import Sessions

Row = tuple[Any, ...]
_LATEST_NS = 1 << 62
Attributes = Mapping[str, str | int | float | bool]


def run_row(run: Run, texts: Interner, sessions: Sessions) -> RunRow:
    """Return the row of ``runs`` for one finished run."""
    start_ns = run.start_ns
    return (
        texts.hook(run.key, run.mode, run.command, run.tool),
        start_ns,
        signed_run(run.run),
        run.wall_ns,
        OUTCOME_CODE[run.outcome],
        texts.name(run.event),
        sessions.number(run.session, start_ns),
        BREACH_CODE[run.breach],
        run.anon_peak_bytes,
        run.user_ns,
        run.sys_ns,
        run.stdin_bytes,
        run.stdout_bytes,
        run.stderr_bytes,
        run.disk_read_bytes,
        run.disk_write_bytes,
        run.overhead_ns,
        run.exit,
        run.signal,
        texts.terms(run.enforcement, run.timeout_ms, run.memory_limit_bytes),
        texts.name(run.project),
        texts.name(run.tool),
        texts.ident(run.prompt, start_ns),
        texts.ident(run.agent, start_ns),
        run.tool_use,
        run.claude_pid,
        ANON_SOURCE_CODE[run.anon_source],
        run.rss_peak_bytes,
        run.ctx_voluntary,
        run.ctx_involuntary,
        run.processes,
        run.leftovers,
        run.leftover_names,
        run.stop_ns,
        EXEC_CODE[run.exec],
    )


def start_row(start: RunStart, texts: Interner, sessions: Sessions) -> Row:
    """Return the row of ``running`` for one start."""
    return (
        signed_run(start.run),
        texts.hook(start.key, start.mode, start.command, start.tool),
        start.start_ns,
        start.launcher_pid,
        start.launcher_ticks,
        start.claude_pid,
        sessions.number(start.session, start.start_ns),
        texts.name(start.event),
        texts.name(start.project),
        texts.name(start.tool),
    )


def _history(run: HistoryRun, texts: Interner, sessions: Sessions) -> Row:
    return (
        texts.hook(run.key, Mode.HOOK, run.command, run.name),
        sessions.number(run.session, run.time_ns),
        run.ident,
        run.time_ns,
        texts.name(run.event),
        run.duration_ms,
        OUTCOME_CODE[run.outcome],
        run.exit,
        run.timeout_ms,
        texts.name(run.project),
    )


def _tool_call(call: ToolCall, texts: Interner, sessions: Sessions) -> Row:
    return (
        sessions.number(call.session, call.time_ns),
        call.ident,
        SOURCE_CODE[call.source],
        call.time_ns,
        texts.name(call.tool),
        call.duration_ms,
        int(call.ok),
        texts.name(call.error),
        call.input_bytes,
        call.result_bytes,
        texts.ident(call.prompt, call.time_ns),
        texts.ident(call.agent, call.time_ns),
    )


def _api_call(call: ApiCall, texts: Interner, sessions: Sessions) -> Row:
    return (
        sessions.number(call.session, call.time_ns),
        call.ident,
        SOURCE_CODE[call.source],
        call.time_ns,
        texts.name(call.model),
        call.duration_ms,
        call.ttft_ms,
        call.input_tokens,
        call.output_tokens,
        call.cache_read_tokens,
        call.cache_creation_tokens,
        call.cost_usd,
        int(call.ok),
        texts.name(call.error),
        texts.ident(call.prompt, call.time_ns),
        texts.ident(call.agent, call.time_ns),
    )


def _compaction(compaction: Compaction, texts: Interner, sessions: Sessions) -> Row:
    return (
        sessions.number(compaction.session, compaction.time_ns),
        compaction.ident,
        SOURCE_CODE[compaction.source],
        compaction.time_ns,
        texts.name(compaction.trigger),
        compaction.pre_tokens,
        compaction.post_tokens,
        compaction.duration_ms,
        int(compaction.ok),
    )


def _client_event(event: ClientEvent, texts: Interner, sessions: Sessions) -> Row:
    return (
        sessions.number(event.session, event.time_ns),
        event.ident,
        SOURCE_CODE[event.source],
        event.time_ns,
        texts.name(event.name),
        _spelled(event.attributes),
    )


def _metric_point(point: MetricPoint, texts: Interner, sessions: Sessions) -> Row:
    return (
        sessions.number(point.session, point.time_ns),
        texts.name(point.name),
        point.time_ns,
        _spelled(point.attributes),
        point.value,
    )


def _session_sample(sample: SessionSample, texts: Interner, sessions: Sessions) -> Row:
    del texts  # a sample has none
    return (
        sessions.number(sample.session, sample.time_ns),
        sample.time_ns,
        sample.claude_pid,
        sample.processes,
        sample.cpu_ns,
        sample.anon_bytes,
        sample.rss_bytes,
        sample.disk_read_bytes,
        sample.disk_write_bytes,
        sample.net_received_bytes,
        sample.net_sent_bytes,
    )


# How each record but a run is stored. A transcript read again may know more of the same
# call than before, so it replaces; what comes from the client or the sampler never changes.
TABLES: dict[type, tuple[str, Callable[..., Row]]] = {
    HistoryRun: ("INSERT OR REPLACE INTO history_runs", _history),
    ToolCall: ("INSERT OR REPLACE INTO tool_calls", _tool_call),
    ApiCall: ("INSERT OR REPLACE INTO api_calls", _api_call),
    Compaction: ("INSERT OR REPLACE INTO compactions", _compaction),
    ClientEvent: ("INSERT OR IGNORE INTO client_events", _client_event),
    MetricPoint: ("INSERT OR IGNORE INTO metric_points", _metric_point),
    SessionSample: ("INSERT OR IGNORE INTO session_samples", _session_sample),
}


def fitting(row: Row) -> Row:
    """Return ``row`` with what SQLite cannot hold brought to the nearest that it can.

    Telemetry comes over a socket and transcripts from anywhere: a number past 64 bits or half a
    character must not cost the batch it came with.
    """
    return tuple(map(_fitting, row))


def is_placed(record: Record) -> bool:
    """Tell whether a record's time is one: between the epoch and the year 2116."""
    time_ns = record.start_ns if isinstance(record, Run | RunStart) else record.time_ns
    return 0 <= time_ns < _LATEST_NS


def _fitting(value: Any) -> Any:
    if isinstance(value, int):
        return min(max(value, -LARGEST), LARGEST)
    if isinstance(value, str):
        return storable(value)
    return 0.0 if isnan(value) else value  # SQLite would take it for NULL


def _spelled(attributes: Attributes) -> str:
    return json.dumps(attributes, sort_keys=True, separators=(",", ":")) if attributes else "{}"
