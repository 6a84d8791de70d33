"""The client's transcripts: where they are and what their rows say.

The format is the client's own and changes without notice (seen: 2.0.76 to 2.1.330), so everything
is optional and what cannot be read is named, never raised. Content is skipped where it stands: of
a prompt, a tool's input or a result only the size is taken.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from better_claude.claude.places import Places
from better_claude.claude.transcript_rows import (
    ANY_ROW,
    BLOCKING_ERROR,
    BLOCKS,
    COMPACT_METADATA,
    HOOK_INFOS,
    HOOK_TOLD,
    MESSAGE,
    ROW,
    TEXTS,
    TOOL_TIMES,
    Block,
    CompactMetadata,
    Fork,
    HookTold,
    Message,
    Row,
    Text,
    Usage,
    code,
    error_code,
    first_byte,
    size,
)
from better_claude.model import (
    ApiCall,
    ClientEvent,
    Compaction,
    HistoryRun,
    Outcome,
    Record,
    Source,
    ToolCall,
    fnv1a64,
)

# How far back a row may refer: a tool's result to its call, an answer to its request. Bounds the
# memory of a reader, and what has to be read again to go on in the middle of a file.
WINDOW_BYTES = 4 << 20

_COMMAND_BYTES = 1024
_TEXT_BYTES = 256
_EXIT_CODE = re.compile(rb'"(?:Error: )?Exit code (\d{1,3})\b')
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u2028\u2029\ud800-\udfff]")
_LAST_NS = 1 << 63
_TURN_ENDS = ("Stop", "SubagentStop")


def transcript_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder below which the client keeps its transcripts."""
    # Transcripts are the user's, whatever project this is asked from.
    return Places.from_environment(Path("/"), environ).config / "projects"


def session_of(path: Path) -> str:
    """Return the session that a transcript's path names, for rows that do not say.

    ``<session>.jsonl``, or ``<session>/subagents/<agent>.jsonl``.
    """
    if path.parent.name == "subagents":
        return _cut(path.parent.parent.name)
    return _cut(path.name.removesuffix(".gz").removesuffix(".jsonl"))


class _Place(NamedTuple):
    """What every record of a row shares."""

    position: int
    time_ns: int
    session: str
    project: str
    agent: str
    uuid: str


class _ToolUse(NamedTuple):
    position: int
    time_ns: int
    name: str
    input_bytes: int


class _Request(NamedTuple):
    position: int
    time_ns: int


class _TurnHook(NamedTuple):
    """A hook of a turn's end that was told of before the summary; no outcome: it began."""

    position: int
    event: str
    key: str
    time_ns: int
    outcome: Outcome | None


class _TurnEndOutcomes(NamedTuple):
    """How hooks ended, from a summary's errors, of which only a block names its hook.

    ``explained`` counts the failures that attachments told of: no other hook's.
    """

    errors: list[str]
    hooks: int
    explained: int

    def hook(self, command: str) -> Outcome:
        if any(error.startswith(f"[{command}]: ") for error in self.errors):
            return Outcome.BLOCKED
        failures = sum(not error.startswith("[") for error in self.errors)
        if failures <= self.explained:
            return Outcome.OK
        return Outcome.ERROR if self.hooks == 1 else Outcome.UNKNOWN


_Entry = TypeVar("_Entry", _ToolUse, _Request)


class Transcript:
    """Turn the rows of one transcript into records.

    Feed it lines in the order of the file. A record may be said again with more in it: the later
    one, with the same ``ident``, takes the place of the earlier. Rows look back no further
    than ``WINDOW_BYTES``, so a reader that goes on at some byte need only feed that much of what
    stands before, and throw the records of it away, to end where one that read everything does.

    ``session`` is for rows that name none, ``project`` the folder the session was started in,
    if it is known.
    """

    def __init__(self, session: str, project: str = "") -> None:
        self._session = session
        self._project = project
        self._client = ("", "")
        self._tool_uses: dict[str, _ToolUse] = {}
        self._requests: dict[str, _Request] = {}
        self._turn_hooks: dict[str, list[_TurnHook]] = {}
        self._records: dict[tuple[type, str, str], Record] = {}
        self._pruned_at = 0

    def __len__(self) -> int:
        """Return how many records wait to be taken."""
        return len(self._records)

    def take(self) -> list[Record]:
        """Return the records since the last call, each in its last state."""
        records = list(self._records.values())
        self._records.clear()
        return records

    def discard(self) -> None:
        """Forget the records since the last `take`, but not what later rows refer to."""
        self._records.clear()

    def feed(self, line: bytes, position: int) -> str:
        """Read one line that begins at byte ``position``; return "" or why it was set aside.

        Reasons: ``not_json``, ``not_object``, ``wrong_values``, ``undated``. Empty lines and rows
        of a kind that we do not read are nothing to set aside.
        """
        try:
            row = ROW.decode(line)
        except msgspec.ValidationError:
            return _why_invalid(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "not_json" if line.strip() else ""
        read = _READERS.get(row.type or "")
        if read is None:
            return ""
        time_ns = _nanoseconds(row.timestamp)
        if time_ns is None:
            return "undated"
        self._prune(position)
        try:
            read(self, row, self._place(row, position, time_ns))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "wrong_values"
        return ""

    def _place(self, row: Row, position: int, time_ns: int) -> _Place:
        # A fork begins with copies of another session's rows: they stay that session's.
        fork = row.forked_from or Fork()
        session = _cut(fork.session or row.session_id or self._session)
        project = self._project or _cut(row.cwd or "", _COMMAND_BYTES)
        place = _Place(
            position=position,
            time_ns=time_ns,
            session=session,
            project=project,
            agent=_cut(row.agent_id or ("sidechain" if row.is_sidechain else "")),
            uuid=_cut(fork.uuid or row.uuid or f"at:{row.timestamp}"),
        )
        if row.version and (session, row.version) != self._client:
            self._client = (session, row.version)
            self._add_first(_client_seen(place, code(row.version)))
        return place

    def _add(self, record: ApiCall | ToolCall | HistoryRun | Compaction) -> None:
        self._records[type(record), record.session, record.ident] = record

    def _add_first(self, event: ClientEvent) -> None:
        # An event happened once: as in the store, its first telling stays.
        self._records.setdefault((ClientEvent, event.session, event.ident), event)

    def _prune(self, position: int) -> None:
        if position - self._pruned_at < WINDOW_BYTES:
            return
        self._pruned_at = position
        before = position - WINDOW_BYTES
        for name in [name for name, use in self._tool_uses.items() if use.position < before]:
            del self._tool_uses[name]
        for name in [name for name, sent in self._requests.items() if sent.position < before]:
            del self._requests[name]
        for name in [name for name, told in self._turn_hooks.items() if told[-1].position < before]:
            del self._turn_hooks[name]

    # Requests to the model and the tools they ask for.

    def _read_request(self, row: Row, place: _Place) -> None:
        if row.id:
            self._requests[row.id] = _Request(place.position, place.time_ns)

    def _read_assistant(self, row: Row, place: _Place) -> None:
        message = MESSAGE.decode(row.message)
        if message.model == "<synthetic>" or row.is_api_error_message:
            # The client's own words; only those that stand for a failed request count.
            if row.is_api_error_message:
                self._add(_failed_call(place, error_code(row.error)))
            return
        self._add(self._api_call(row, place, message))
        for block in _blocks(message.content):
            if block.type == "tool_use" and block.id:
                self._tool_uses[block.id] = _ToolUse(
                    place.position, place.time_ns, _cut(block.name or ""), size(block.input)
                )

    def _api_call(self, row: Row, place: _Place, message: Message) -> ApiCall:
        usage = message.usage or Usage()
        # Gateways exist that number messages anew in each session: an id alone is not enough.
        apart = row.request_ref or row.request_id or place.session
        request = _recall(self._requests, row.request_ref, place.position)
        return ApiCall(
            time_ns=place.time_ns,
            session=place.session,
            model=_cut(message.model or ""),
            source=Source.TRANSCRIPT,
            ident=_cut(f"{message.id or place.uuid}:{apart}"),
            duration_ms=_elapsed_ms(request, place.time_ns) if request else 0,
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cache_read_tokens=usage.cache_read_input_tokens or 0,
            cache_creation_tokens=usage.cache_creation_input_tokens or 0,
            agent=place.agent,
        )

    def _read_user(self, row: Row, place: _Place) -> None:
        content = MESSAGE.decode(row.message).content
        results = [block for block in _blocks(content) if block.type == "tool_result"]
        # What a tool says of its own time stands beside the results, so it fits only a single one.
        own = _own_time(row.tool_use_result) if len(results) == 1 else None
        for block in results:
            use = _recall(self._tool_uses, block.tool_use_id, place.position)
            if use is not None and block.tool_use_id:
                self._add(_tool_call(row, place, block, use, own))
                self._read_block(block, use, place)

    def _read_system(self, row: Row, place: _Place) -> None:
        if row.subtype == "stop_hook_summary":
            self._read_turn_end(row, place)
        elif row.subtype == "compact_boundary":
            self._add(_compaction(row, place))
        elif row.subtype == "api_error":
            self._add(_failed_call(place, error_code(row.error)))

    # Hooks.

    def _read_block(self, block: Block, use: _ToolUse, place: _Place) -> None:
        """Record the hook that refused a tool call: only the call's result names it."""
        start = f'"PreToolUse:{use.name} hook error: ['.encode()
        if not block.is_error or bytes(memoryview(block.content)[: len(start)]) != start:
            return
        command, closed, _ = msgspec.json.decode(block.content, type=str).partition("]: ")
        told = HookTold(
            hook_event="PreToolUse",
            hook_name=f"PreToolUse:{use.name}",
            command=command[len(start) - 1 :] if closed else None,
        )
        self._add(_history_run(place, told, _cut(block.tool_use_id or ""), Outcome.BLOCKED))

    def _read_attachment(self, row: Row, place: _Place) -> None:
        told = HOOK_TOLD.decode(row.attachment)
        outcome = _HOOK_OUTCOMES.get(told.type or "")
        if outcome is None:
            return
        if outcome is Outcome.CANCELLED and told.timed_out:
            outcome = Outcome.TIMEOUT
        if first_byte(told.blocking_error) == b"{":
            told.command = told.command or BLOCKING_ERROR.decode(told.blocking_error).command
        use = _cut(told.tool_use_id or place.uuid)
        run = _history_run(place, told, use, outcome)
        self._add(run)
        self._remember(use, run, place, outcome)

    def _read_progress(self, row: Row, place: _Place) -> None:
        if first_byte(row.data) != b"{":
            return
        told = HOOK_TOLD.decode(row.data)
        if told.type != "hook_progress":
            return
        use = _cut(row.tool_use_id or place.uuid)
        run = _history_run(place, told, use, Outcome.UNKNOWN)
        self._add(run)
        self._remember(use, run, place, None)

    def _remember(self, use: str, run: HistoryRun, place: _Place, outcome: Outcome | None) -> None:
        if run.event in _TURN_ENDS:
            told = _TurnHook(place.position, run.event, run.key, place.time_ns, outcome)
            self._turn_hooks.setdefault(use, []).append(told)

    def _read_turn_end(self, row: Row, place: _Place) -> None:
        use = _cut(row.tool_use_id or place.uuid)
        told_of = [
            hook
            for hook in self._turn_hooks.pop(use, ())
            if hook.position >= place.position - WINDOW_BYTES
        ]
        started_ns = {hook.key: hook.time_ns for hook in told_of if hook.outcome is None}
        ended = {hook.key: hook.outcome for hook in told_of if hook.outcome is not None}
        event = code(row.hook_label or "", _TURN_ENDS[bool(row.is_sidechain)])
        event = told_of[-1].event if told_of else event
        infos = HOOK_INFOS.decode(row.hook_infos)
        errors = TEXTS.decode(row.hook_errors) if first_byte(row.hook_errors) == b"[" else []
        failures = sum(outcome is Outcome.ERROR for outcome in ended.values())
        outcome_of = _TurnEndOutcomes(errors, len(infos), failures)
        for info in infos:
            told = HookTold(
                hook_event=event,
                hook_name=event,
                command=info.command,
                duration_ms=info.duration_ms,
            )
            key = _key(told)
            if told.duration_ms is None and key in started_ns:
                told.duration_ms = max(0, place.time_ns - started_ns[key]) / 1e6
            # An attachment said more of the same run: exit code and limit.
            if key not in ended:
                outcome = outcome_of.hook(info.command or "")
                self._add(_history_run(place, told, use, outcome))


_HOOK_OUTCOMES = {
    "hook_success": Outcome.OK,
    "hook_blocking_error": Outcome.BLOCKED,
    "hook_non_blocking_error": Outcome.ERROR,
    "hook_error_during_execution": Outcome.ERROR,
    "hook_cancelled": Outcome.CANCELLED,
}
_READERS = {
    "assistant": Transcript._read_assistant,
    "user": Transcript._read_user,
    "attachment": Transcript._read_attachment,
    "progress": Transcript._read_progress,
    "system": Transcript._read_system,
    "api-request": Transcript._read_request,
}


def first_project(head: bytes) -> str:
    """Return the working folder that the first complete lines of a transcript state, or ""."""
    for line in head.split(b"\n")[:-1]:
        try:
            row = ROW.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if row.cwd:
            return _cut(row.cwd, _COMMAND_BYTES)
    return ""


def _why_invalid(line: bytes) -> str:
    try:
        kind = ANY_ROW.decode(line).type
    except msgspec.ValidationError:
        return "not_object"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "not_json"
    return "wrong_values" if isinstance(kind, str) and kind in _READERS else ""


def _blocks(content: msgspec.Raw) -> Iterator[Block]:
    # A plain text stands as a string.
    if first_byte(content) == b"[":
        yield from BLOCKS.decode(content)


def _client_seen(place: _Place, version: str) -> ClientEvent:
    return ClientEvent(
        time_ns=place.time_ns,
        session=place.session,
        name="session",
        source=Source.TRANSCRIPT,
        ident=f"version:{version}",
        attributes={"client_version": version, "project": place.project},
    )


def _tool_call(
    row: Row, place: _Place, block: Block, use: _ToolUse, own_ms: int | None
) -> ToolCall:
    failed = bool(block.is_error)
    return ToolCall(
        time_ns=use.time_ns,
        session=place.session,
        tool=use.name,
        source=Source.TRANSCRIPT,
        ident=_cut(block.tool_use_id or ""),
        duration_ms=_elapsed_ms(use, place.time_ns) if own_ms is None else own_ms,
        ok=not failed,
        error=_tool_error(row, block) if failed else "",
        input_bytes=use.input_bytes,
        result_bytes=size(block.content),
        prompt=_cut(row.prompt_id or ""),
        agent=place.agent,
    )


def _tool_error(row: Row, block: Block) -> str:
    if row.tool_denial_kind:
        return code(f"denied:{row.tool_denial_kind}")
    match = _EXIT_CODE.match(bytes(block.content)[:64])
    return f"exit:{int(match[1])}" if match else "error"


def _own_time(result: msgspec.Raw) -> int | None:
    if first_byte(result) != b"{":
        return None
    try:
        return TOOL_TIMES.decode(result).milliseconds
    except msgspec.ValidationError:
        # A tool's result has any shape; the two rows' times do as well.
        return None


def _failed_call(place: _Place, error: str) -> ApiCall:
    return ApiCall(
        time_ns=place.time_ns,
        session=place.session,
        model="",
        source=Source.TRANSCRIPT,
        ident=place.uuid,
        ok=False,
        error=error,
        agent=place.agent,
    )


def _compaction(row: Row, place: _Place) -> Compaction:
    told = first_byte(row.compact_metadata) == b"{"
    metadata = COMPACT_METADATA.decode(row.compact_metadata) if told else CompactMetadata()
    return Compaction(
        time_ns=place.time_ns,
        session=place.session,
        source=Source.TRANSCRIPT,
        ident=place.uuid,
        trigger=code(metadata.trigger or "", ""),
        pre_tokens=metadata.pre_tokens or 0,
        post_tokens=metadata.post_tokens or 0,
        duration_ms=round(metadata.duration_ms or 0),
    )


def _history_run(place: _Place, told: HookTold, use: str, outcome: Outcome) -> HistoryRun:
    key = _key(told)
    event = _cut(told.hook_event or "")
    duration_ms = -1 if told.duration_ms is None else round(told.duration_ms)
    # The row is written when the hook has ended.
    start_ns = place.time_ns - max(0, duration_ms) * 1_000_000
    return HistoryRun(
        time_ns=max(0, start_ns),
        session=place.session,
        event=event,
        name=_cut(told.hook_name or event),
        command=_cut(told.command or "", _COMMAND_BYTES),
        key=key,
        ident=f"{use}:{event}:{key}",
        duration_ms=duration_ms,
        outcome=outcome,
        exit=-1 if told.exit_code is None else told.exit_code,
        timeout_ms=round(told.timeout_ms or 0),
        project=place.project,
    )


def _key(told: HookTold) -> str:
    return _key_of(told.command or told.hook_name or told.hook_event or "")


@lru_cache(maxsize=256)
def _key_of(text: str) -> str:
    return f"{fnv1a64(text.encode()):016x}"


def _cut(text: str, limit: int = _TEXT_BYTES) -> str:
    """Return ``text`` on one line, within ``limit`` bytes, cut at a character's end."""
    # Cut before it is looked up, so that the cache never holds a long text.
    return _printable(text[:limit], limit)


@lru_cache(maxsize=1024)
def _printable(text: str, limit: int) -> str:
    return _UNPRINTABLE.sub("\ufffd", text).encode()[:limit].decode(errors="ignore")


def _nanoseconds(timestamp: Text) -> int | None:
    try:
        moment = datetime.fromisoformat(timestamp or "")
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Whole microseconds: a float of this size would round them.
    since = moment - _EPOCH
    time_ns = ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    return time_ns if 0 <= time_ns < _LAST_NS else None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _elapsed_ms(since: _ToolUse | _Request, time_ns: int) -> int:
    return max(0, time_ns - since.time_ns) // 1_000_000


def _recall(table: dict[str, _Entry], name: Text, position: int) -> _Entry | None:
    entry = table.get(name or "")
    return entry if entry is not None and entry.position >= position - WINDOW_BYTES else None
