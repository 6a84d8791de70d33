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
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from better_claude.claude.places import Places
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
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_EXIT_CODE = re.compile(rb'"(?:Error: )?Exit code (\d{1,3})\b')
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f\x80-\x9f\u2028\u2029]")
_LAST_NS = 1 << 63
_TURN_ENDS = ("Stop", "SubagentStop")

Text = str | None
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None
ExitCode = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)] | None
_NOTHING = msgspec.Raw(b"")


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


class _Fork(msgspec.Struct):
    """Where a row was copied from when a session was forked."""

    session: Text = msgspec.field(name="sessionId", default=None)
    uuid: Text = msgspec.field(name="messageUuid", default=None)


class _Row(msgspec.Struct, rename="camel"):
    """One line, as far as any kind of row that we read goes."""

    type: Text = None
    subtype: Text = None
    timestamp: Text = None
    uuid: Text = None
    id: Text = None
    session_id: Text = None
    cwd: Text = None
    version: Text = None
    is_sidechain: bool | None = None
    agent_id: Text = None
    prompt_id: Text = None
    request_id: Text = None
    request_ref: Text = None
    tool_use_id: Text = msgspec.field(name="toolUseID", default=None)
    is_api_error_message: bool | None = None
    tool_denial_kind: Text = None
    forked_from: _Fork | None = None
    error: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    attachment: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    tool_use_result: msgspec.Raw = _NOTHING
    hook_label: Text = None
    hook_infos: msgspec.Raw = _NOTHING
    hook_errors: msgspec.Raw = _NOTHING
    compact_metadata: msgspec.Raw = _NOTHING


class _AnyRow(msgspec.Struct):
    """A line of which only the kind matters."""

    type: Any = None


class _Usage(msgspec.Struct):
    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None


class _Message(msgspec.Struct):
    id: Text = None
    model: Text = None
    usage: _Usage | None = None
    content: msgspec.Raw = _NOTHING


class _Block(msgspec.Struct):
    """A block of a message: a ``tool_use``, a ``tool_result``, or one that does not matter."""

    type: Text = None
    id: Text = None
    name: Text = None
    tool_use_id: Text = None
    is_error: bool | None = None
    input: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING


class _ToolTimes(msgspec.Struct, rename="camel"):
    """What a tool says of its own duration, where it says anything."""

    duration_ms: Milliseconds = None
    total_duration_ms: Milliseconds = None
    duration_seconds: Milliseconds = None

    @property
    def milliseconds(self) -> int | None:
        if self.duration_ms is not None:
            return round(self.duration_ms)
        if self.total_duration_ms is not None:
            return round(self.total_duration_ms)
        return None if self.duration_seconds is None else round(self.duration_seconds * 1000)


class _BlockingError(msgspec.Struct):
    command: Text = None


class _HookTold(msgspec.Struct, rename="camel"):
    """A hook in an attachment, or in the data of a progress row."""

    type: Text = None
    hook_event: Text = None
    hook_name: Text = None
    tool_use_id: Text = msgspec.field(name="toolUseID", default=None)
    command: Text = None
    blocking_error: msgspec.Raw = _NOTHING
    exit_code: ExitCode = None
    duration_ms: Milliseconds = None
    timed_out: bool | None = None
    timeout_ms: Milliseconds = None


class _HookInfo(msgspec.Struct, rename="camel"):
    """A hook in the summary of a turn's end."""

    command: Text = None
    duration_ms: Milliseconds = None


class _CompactMetadata(msgspec.Struct, rename="camel"):
    trigger: Text = None
    pre_tokens: Count = None
    post_tokens: Count = None
    duration_ms: Milliseconds = None


class _ApiError(msgspec.Struct):
    """An error of the API, as nested as the SDK that raised it left it."""

    status: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = None
    type: Text = None
    code: str | int | None = None
    error: "_ApiError | str | None" = None
    cause: "_ApiError | str | None" = None
    connection: "_ApiError | str | None" = None


_ROW = msgspec.json.Decoder(_Row)
_ANY_ROW = msgspec.json.Decoder(_AnyRow)
_MESSAGE = msgspec.json.Decoder(_Message)
_BLOCKS = msgspec.json.Decoder(list[_Block])
_TOOL_TIMES = msgspec.json.Decoder(_ToolTimes)
_HOOK_TOLD = msgspec.json.Decoder(_HookTold)
_BLOCKING_ERROR = msgspec.json.Decoder(_BlockingError)
_HOOK_INFOS = msgspec.json.Decoder(list[_HookInfo])
_TEXTS = msgspec.json.Decoder(list[str])
_COMPACT_METADATA = msgspec.json.Decoder(_CompactMetadata)
_API_ERROR = msgspec.json.Decoder(_ApiError | str)


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


class _TurnEnd(NamedTuple):
    """Hooks of one turn's end that were told of before its summary, by key."""

    position: int
    event: str
    started_ns: dict[str, int]
    ended: dict[str, Outcome]

    @property
    def failures(self) -> int:
        return sum(outcome is Outcome.ERROR for outcome in self.ended.values())


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


_Entry = TypeVar("_Entry", _ToolUse, _Request, _TurnEnd)


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
        self._turn_ends: dict[str, _TurnEnd] = {}
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
            row = _ROW.decode(line)
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

    def _place(self, row: _Row, position: int, time_ns: int) -> _Place:
        # A fork begins with copies of another session's rows: they stay that session's.
        fork = row.forked_from or _Fork()
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
            self._add_first(_client_seen(place, _code(row.version)))
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
        _forget(self._tool_uses, position - WINDOW_BYTES)
        _forget(self._requests, position - WINDOW_BYTES)
        _forget(self._turn_ends, position - WINDOW_BYTES)

    # Requests to the model and the tools they ask for.

    def _read_request(self, row: _Row, place: _Place) -> None:
        if row.id:
            self._requests[row.id] = _Request(place.position, place.time_ns)

    def _read_assistant(self, row: _Row, place: _Place) -> None:
        message = _MESSAGE.decode(row.message)
        if message.model == "<synthetic>" or row.is_api_error_message:
            # The client's own words; only those that stand for a failed request count.
            if row.is_api_error_message:
                self._add(_failed_call(place, _error_code(row.error)))
            return
        self._add(self._api_call(row, place, message))
        for block in _blocks(message.content):
            if block.type == "tool_use" and block.id:
                self._tool_uses[block.id] = _ToolUse(
                    place.position, place.time_ns, _cut(block.name or ""), _size(block.input)
                )

    def _api_call(self, row: _Row, place: _Place, message: _Message) -> ApiCall:
        usage = message.usage or _Usage()
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

    def _read_user(self, row: _Row, place: _Place) -> None:
        content = _MESSAGE.decode(row.message).content
        results = [block for block in _blocks(content) if block.type == "tool_result"]
        # What a tool says of its own time stands beside the results, so it fits only a single one.
        own = _own_time(row.tool_use_result) if len(results) == 1 else None
        for block in results:
            use = _recall(self._tool_uses, block.tool_use_id, place.position)
            if use is not None and block.tool_use_id:
                self._add(_tool_call(row, place, block, use, own))
                self._read_block(block, use, place)

    def _read_system(self, row: _Row, place: _Place) -> None:
        if row.subtype == "stop_hook_summary":
            self._read_turn_end(row, place)
        elif row.subtype == "compact_boundary":
            self._add(_compaction(row, place))
        elif row.subtype == "api_error":
            self._add(_failed_call(place, _error_code(row.error)))

    # Hooks.

    def _read_block(self, block: _Block, use: _ToolUse, place: _Place) -> None:
        """Record the hook that refused a tool call: only the call's result names it."""
        start = f'"PreToolUse:{use.name} hook error: ['.encode()
        if not block.is_error or bytes(memoryview(block.content)[: len(start)]) != start:
            return
        command, closed, _ = msgspec.json.decode(block.content, type=str).partition("]: ")
        told = _HookTold(
            hook_event="PreToolUse",
            hook_name=f"PreToolUse:{use.name}",
            command=command[len(start) - 1 :] if closed else None,
        )
        self._add(_history_run(place, told, _cut(block.tool_use_id or ""), Outcome.BLOCKED))

    def _read_attachment(self, row: _Row, place: _Place) -> None:
        told = _HOOK_TOLD.decode(row.attachment)
        outcome = _HOOK_OUTCOMES.get(told.type or "")
        if outcome is None:
            return
        if outcome is Outcome.CANCELLED and told.timed_out:
            outcome = Outcome.TIMEOUT
        if _first_byte(told.blocking_error) == b"{":
            told.command = told.command or _BLOCKING_ERROR.decode(told.blocking_error).command
        use = _cut(told.tool_use_id or place.uuid)
        run = _history_run(place, told, use, outcome)
        self._add(run)
        if run.event in _TURN_ENDS:
            self._turn_end(use, run.event, place).ended[run.key] = outcome

    def _read_progress(self, row: _Row, place: _Place) -> None:
        if _first_byte(row.data) != b"{":
            return
        told = _HOOK_TOLD.decode(row.data)
        if told.type != "hook_progress":
            return
        use = _cut(row.tool_use_id or place.uuid)
        run = _history_run(place, told, use, Outcome.UNKNOWN)
        turn_end = self._turn_end(use, run.event, place) if run.event in _TURN_ENDS else None
        if turn_end is None or run.key not in turn_end.ended:
            self._add(run)
        if turn_end is not None:
            turn_end.started_ns.setdefault(run.key, place.time_ns)

    def _turn_end(self, use: str, event: str, place: _Place) -> _TurnEnd:
        known = _recall(self._turn_ends, use, place.position)
        if known is None:
            known = _TurnEnd(place.position, event, {}, {})
            self._turn_ends[use] = known
        return known

    def _read_turn_end(self, row: _Row, place: _Place) -> None:
        use = _cut(row.tool_use_id or place.uuid)
        event = _code(row.hook_label or "", _TURN_ENDS[bool(row.is_sidechain)])
        known = self._turn_end(use, event, place)
        infos = _HOOK_INFOS.decode(row.hook_infos)
        errors = _TEXTS.decode(row.hook_errors) if _first_byte(row.hook_errors) == b"[" else []
        outcome_of = _TurnEndOutcomes(errors, len(infos), known.failures)
        for info in infos:
            told = _HookTold(
                hook_event=known.event,
                hook_name=known.event,
                command=info.command,
                duration_ms=info.duration_ms,
            )
            key = _key(told)
            started = known.started_ns.get(key)
            if told.duration_ms is None and started is not None:
                told.duration_ms = max(0, place.time_ns - started) / 1e6
            # An attachment said more of the same run: exit code and limit.
            if key not in known.ended:
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
            row = _ROW.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if row.cwd:
            return _cut(row.cwd, _COMMAND_BYTES)
    return ""


def _why_invalid(line: bytes) -> str:
    try:
        kind = _ANY_ROW.decode(line).type
    except msgspec.ValidationError:
        return "not_object"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "not_json"
    return "wrong_values" if isinstance(kind, str) and kind in _READERS else ""


def _blocks(content: msgspec.Raw) -> Iterator[_Block]:
    # A plain text stands as a string.
    if _first_byte(content) == b"[":
        yield from _BLOCKS.decode(content)


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
    row: _Row, place: _Place, block: _Block, use: _ToolUse, own_ms: int | None
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
        result_bytes=_size(block.content),
        prompt=_cut(row.prompt_id or ""),
        agent=place.agent,
    )


def _tool_error(row: _Row, block: _Block) -> str:
    if row.tool_denial_kind:
        return _code(f"denied:{row.tool_denial_kind}")
    match = _EXIT_CODE.match(bytes(block.content)[:64])
    return f"exit:{int(match[1])}" if match else "error"


def _own_time(result: msgspec.Raw) -> int | None:
    if _first_byte(result) != b"{":
        return None
    try:
        return _TOOL_TIMES.decode(result).milliseconds
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


def _error_code(raw: msgspec.Raw) -> str:
    """Return the innermost type, else the status, else the code: never the message."""
    try:
        error = _API_ERROR.decode(raw)
    except msgspec.DecodeError:
        return "api_error"
    kind = status = code = ""
    while isinstance(error, _ApiError):
        kind = error.type if error.type and error.type != "error" else kind
        status = str(error.status) if error.status else status
        code = str(error.code or code)
        error = error.error or error.cause or error.connection
    return _code(kind or status or code or (error if isinstance(error, str) else ""), "api_error")


def _compaction(row: _Row, place: _Place) -> Compaction:
    told = _first_byte(row.compact_metadata) == b"{"
    metadata = _COMPACT_METADATA.decode(row.compact_metadata) if told else _CompactMetadata()
    return Compaction(
        time_ns=place.time_ns,
        session=place.session,
        source=Source.TRANSCRIPT,
        ident=place.uuid,
        trigger=_code(metadata.trigger or "", ""),
        pre_tokens=metadata.pre_tokens or 0,
        post_tokens=metadata.post_tokens or 0,
        duration_ms=round(metadata.duration_ms or 0),
    )


def _history_run(place: _Place, told: _HookTold, use: str, outcome: Outcome) -> HistoryRun:
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


def _key(told: _HookTold) -> str:
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


def _code(text: str, otherwise: str = "other") -> str:
    """Return ``text`` if it can only be a code: no words of a message get through."""
    return text if _CODE.fullmatch(text) else otherwise


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


def _size(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _first_byte(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _recall(table: dict[str, _Entry], name: Text, position: int) -> _Entry | None:
    entry = table.get(name or "")
    return entry if entry is not None and entry.position >= position - WINDOW_BYTES else None


def _forget(table: dict[str, _Entry], before: int) -> None:
    for name in [name for name, entry in table.items() if entry.position < before]:
        del table[name]
