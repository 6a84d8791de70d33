"""The rows of a transcript, as far as we read them: their members, none of which must be there.

What holds a person's words is left undecoded (``msgspec.Raw``): its size is taken, or its kind.
"""

import re
from typing import Annotated, Any

import msgspec

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")

Text = str | None
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] | None
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None
ExitCode = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)] | None
_NOTHING = msgspec.Raw(b"")


class Fork(msgspec.Struct):
    """Where a row was copied from when a session was forked."""

    session: Text = msgspec.field(name="sessionId", default=None)
    uuid: Text = msgspec.field(name="messageUuid", default=None)


class Row(msgspec.Struct, rename="camel"):
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
    forked_from: Fork | None = None
    error: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    attachment: msgspec.Raw = _NOTHING
    data: msgspec.Raw = _NOTHING
    tool_use_result: msgspec.Raw = _NOTHING
    hook_label: Text = None
    hook_infos: msgspec.Raw = _NOTHING
    hook_errors: msgspec.Raw = _NOTHING
    compact_metadata: msgspec.Raw = _NOTHING


class AnyRow(msgspec.Struct):
    """A line of which only the kind matters."""

    type: Any = None


class Usage(msgspec.Struct):
    """The tokens of an API message."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None


class Message(msgspec.Struct):
    """What was said, by a model or to it."""

    id: Text = None
    model: Text = None
    usage: Usage | None = None
    content: msgspec.Raw = _NOTHING


class Block(msgspec.Struct):
    """A block of a message: a ``tool_use``, a ``tool_result``, or one that does not matter."""

    type: Text = None
    id: Text = None
    name: Text = None
    tool_use_id: Text = None
    is_error: bool | None = None
    input: msgspec.Raw = _NOTHING
    content: msgspec.Raw = _NOTHING


class ToolTimes(msgspec.Struct, rename="camel"):
    """What a tool says of its own duration, where it says anything."""

    duration_ms: Milliseconds = None
    total_duration_ms: Milliseconds = None
    duration_seconds: Milliseconds = None

    @property
    def milliseconds(self) -> int | None:
        """The duration in whole milliseconds, None if nothing is said."""
        if self.duration_ms is not None:
            return round(self.duration_ms)
        if self.total_duration_ms is not None:
            return round(self.total_duration_ms)
        return None if self.duration_seconds is None else round(self.duration_seconds * 1000)


class BlockingError(msgspec.Struct):
    """Whose refusal it was; what it said is not read."""

    command: Text = None


class HookTold(msgspec.Struct, rename="camel"):
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


class HookInfo(msgspec.Struct, rename="camel"):
    """A hook in the summary of a turn's end."""

    command: Text = None
    duration_ms: Milliseconds = None


class CompactMetadata(msgspec.Struct, rename="camel"):
    """What a compaction did."""

    trigger: Text = None
    pre_tokens: Count = None
    post_tokens: Count = None
    duration_ms: Milliseconds = None


class ApiError(msgspec.Struct):
    """An error of the API, as nested as the SDK that raised it left it."""

    status: Annotated[int, msgspec.Meta(ge=0, le=999)] | None = None
    type: Text = None
    code: str | int | None = None
    error: "ApiError | str | None" = None
    cause: "ApiError | str | None" = None
    connection: "ApiError | str | None" = None


ROW = msgspec.json.Decoder(Row)
ANY_ROW = msgspec.json.Decoder(AnyRow)
MESSAGE = msgspec.json.Decoder(Message)
BLOCKS = msgspec.json.Decoder(list[Block])
TOOL_TIMES = msgspec.json.Decoder(ToolTimes)
HOOK_TOLD = msgspec.json.Decoder(HookTold)
BLOCKING_ERROR = msgspec.json.Decoder(BlockingError)
HOOK_INFOS = msgspec.json.Decoder(list[HookInfo])
TEXTS = msgspec.json.Decoder(list[str])
COMPACT_METADATA = msgspec.json.Decoder(CompactMetadata)
API_ERROR = msgspec.json.Decoder(ApiError | str)


def error_code(raw: msgspec.Raw) -> str:
    """Return the innermost type, else the status, else the code: never the message."""
    try:
        error = API_ERROR.decode(raw)
    except msgspec.DecodeError:
        return "api_error"
    kind = status = number = ""
    while isinstance(error, ApiError):
        kind = error.type if error.type and error.type != "error" else kind
        status = str(error.status) if error.status else status
        number = str(error.code or number)
        error = error.error or error.cause or error.connection
    word = error if isinstance(error, str) else ""
    return code(kind or status or number or word, "api_error")


def code(text: str, otherwise: str = "other") -> str:
    """Return ``text`` if it can only be a code: no words of a message get through."""
    return text if _CODE.fullmatch(text) else otherwise


def size(raw: msgspec.Raw) -> int:
    """Return the bytes of a value's JSON; 0 for one that is not there."""
    return memoryview(raw).nbytes


def first_byte(raw: msgspec.Raw) -> bytes:
    """Return what tells an object, a list and a text apart; empty for a value that is not there."""
    return bytes(memoryview(raw)[:1])
