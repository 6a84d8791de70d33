"""Transcript rows in the shapes that versions of the client wrote, with words of our own."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

Row = dict[str, Any]

SESSION = "5f0f3c1e-0000-4000-8000-000000000001"
PROJECT = "/home/someone/garden"
SECRET = "the heron stands in the reeds"
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def at(seconds: float) -> str:
    """Return a moment so many seconds after the start, as the client spells it."""
    moment = START + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def at_ns(seconds: float) -> int:
    """Return the same moment in nanoseconds."""
    return round((START.timestamp() + seconds) * 1000) * 1_000_000


def encode(*rows: Row) -> bytes:
    """Return the rows as a transcript's bytes."""
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def write(path: Path, *rows: Row) -> Path:
    """Write a transcript, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(*rows))
    return path


def row(kind: str, seconds: float, **members: Any) -> Row:
    """Return a row with what all kinds share."""
    return {
        "parentUuid": None,
        "isSidechain": False,
        "userType": "external",
        "cwd": PROJECT,
        "sessionId": SESSION,
        "version": "2.1.37",
        "gitBranch": "main",
        "type": kind,
        "uuid": f"{kind}-{seconds}",
        "timestamp": at(seconds),
        **members,
    }


def usage(output: int, fresh: int = 3, read: int = 900, created: int = 70) -> Row:
    """Return the tokens of an answer."""
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": created,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": created},
        "output_tokens": output,
        "service_tier": "standard",
    }


def assistant(seconds: float, message: str, *blocks: Row, output: int = 5, **members: Any) -> Row:
    """Return one of the rows of an answer."""
    return row(
        "assistant",
        seconds,
        requestId=members.pop("requestId", f"req_{message}"),
        message={
            "id": message,
            "type": "message",
            "role": "assistant",
            "model": members.pop("model", "claude-sonnet-9"),
            "content": list(blocks),
            "stop_reason": None,
            "usage": usage(output),
        },
        **members,
    )


def text() -> Row:
    """Return a block of words."""
    return {"type": "text", "text": SECRET}


def tool_use(ident: str, name: str = "Bash") -> Row:
    """Return a block that calls a tool."""
    return {"type": "tool_use", "id": ident, "name": name, "input": {"command": SECRET}}


def tool_result(
    seconds: float, ident: str, content: Any = SECRET, is_error: bool = False, **members: Any
) -> Row:
    """Return the row that answers a tool's call."""
    block = {"tool_use_id": ident, "type": "tool_result", "content": content, "is_error": is_error}
    members.setdefault("toolUseResult", {"stdout": SECRET, "stderr": "", "interrupted": False})
    return row("user", seconds, message={"role": "user", "content": [block]}, **members)


def prompt(seconds: float) -> Row:
    """Return what a person wrote."""
    return row("user", seconds, message={"role": "user", "content": SECRET})


def hook_attachment(
    seconds: float,
    kind: str,
    event: str = "PreToolUse",
    command: str | None = "guard.sh --fast",
    use: str = "toolu_1",
    **attachment: Any,
) -> Row:
    """Return how a hook ended, as versions from 2.1.150 tell it."""
    told: Row = {
        "type": kind,
        "hookName": f"{event}:Bash",
        "toolUseID": use,
        "hookEvent": event,
        **attachment,
    }
    if command is not None:
        told["command"] = command
    if kind in {"hook_success", "hook_non_blocking_error"}:
        told |= {"content": SECRET, "stdout": SECRET, "stderr": SECRET}
    return row("attachment", seconds, attachment=told, version="2.1.217")


def hook_progress(
    seconds: float, event: str, command: str = "guard.sh --fast", use: str = "toolu_1"
) -> Row:
    """Return that a hook began, as versions 2.1.17 to 2.1.37 tell it."""
    data = {
        "type": "hook_progress",
        "hookEvent": event,
        "hookName": f"{event}:Bash",
        "command": command,
    }
    return row("progress", seconds, data=data, toolUseID=use, parentToolUseID=use)


def stop_summary(
    seconds: float, *infos: Row, errors: Iterable[str] = (), use: str = "stop-1", **members: Any
) -> Row:
    """Return the summary of the hooks at a turn's end, as all versions write it."""
    return row(
        "system",
        seconds,
        subtype="stop_hook_summary",
        hookCount=len(infos),
        hookInfos=list(infos),
        hookErrors=list(errors),
        preventedContinuation=False,
        stopReason=SECRET,
        hasOutput=bool(list(errors)),
        toolUseID=use,
        **members,
    )


def compact_boundary(seconds: float, **metadata: Any) -> Row:
    """Return that the context was compacted."""
    return row(
        "system",
        seconds,
        subtype="compact_boundary",
        content="Conversation compacted",
        compactMetadata={"trigger": "auto", "preTokens": 155_377, **metadata},
    )


def long_session(turns: int, filler_bytes: int = 1500, session: str = SESSION) -> Iterator[Row]:
    """Yield a session of realistic mix: a turn is a prompt, an answer, a tool call and hooks."""
    seconds = count(0.0, 0.25)
    filler = ("reed " * (filler_bytes // 5 + 1))[:filler_bytes]
    for turn in range(turns):
        use, message = f"toolu_{session[-4:]}_{turn}", f"msg_{session[-4:]}_{turn}"
        shared: Row = {"sessionId": session}
        yield prompt(next(seconds)) | shared
        words = {"type": "text", "text": filler}
        yield assistant(next(seconds), message, words, output=1, **shared)
        yield assistant(next(seconds), message, words, output=2, **shared)
        yield assistant(next(seconds), message, tool_use(use), output=40 + turn, **shared)
        yield hook_progress(next(seconds), "PreToolUse", use=use) | shared
        result = {"stdout": filler * 4, "stderr": "", "interrupted": False}
        yield tool_result(next(seconds), use, filler * 4, toolUseResult=result, **shared)
        yield {"type": "file-history-snapshot", "messageId": message, "snapshot": {"a": filler}}
        if turn % 4 == 3:
            stop = f"stop_{session[-4:]}_{turn}"
            yield hook_progress(next(seconds), "Stop", "notify", stop) | shared
            yield stop_summary(next(seconds), {"command": "notify"}, use=stop, **shared)
        if turn % 50 == 49:
            yield compact_boundary(next(seconds)) | shared
