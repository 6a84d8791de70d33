"""A Messages API on loopback that answers from a script: all of the model that the tests need.

Step N answers the request whose conversation already holds N assistant messages, so a script reads
like the session that it makes: tool call, tool call, text. Requests without tools are the client's
own side questions (a title, a summary); they get a short text and move no step.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one answer claims to have cost, in tokens."""

    input_tokens: int = 100
    output_tokens: int = 20
    cache_read: int = 0
    cache_creation: int = 0

    def as_json(self) -> Json:
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation_input_tokens": self.cache_creation,
        }


@dataclass(frozen=True, slots=True)
class Text:
    """The model says something and its turn ends."""

    text: str = "done"
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model calls one tool."""

    name: str
    input: Json
    usage: Usage = Usage()


Step = Text | ToolUse


def bash(command: str, usage: Usage = Usage()) -> ToolUse:
    """Return a call of the Bash tool."""
    return ToolUse("Bash", {"command": command, "description": "a scripted command"}, usage)


@dataclass(slots=True)
class MessagesApi:
    """A running server; ``requests`` are the bodies of ``/v1/messages``, oldest first."""

    steps: Sequence[Step]
    # What a subagent does whose prompt contains the key: its conversation is one of its own.
    subagents: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"messages_api": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where the client finds us."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def conversation(self) -> list[Json]:
        """The requests of the session itself, without the client's side questions."""
        return [request for request in self.requests if request.get("tools")]

    def heard(self, text: str) -> bool:
        """Tell whether any request carried ``text``: whether the model got to know of it."""
        spelled = json.dumps(text)[1:-1]
        return any(spelled in json.dumps(request) for request in self.requests)

    def answer(self, request: Json) -> bytes:
        """Return the server-sent events that answer one request."""
        self.requests.append(request)
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        steps = self._script(request)
        step = steps[min(turn, len(steps) - 1)] if request.get("tools") else Text("ok")
        events = _events(step, turn, request["model"])
        return b"".join(
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
        )

    def _script(self, request: Json) -> Sequence[Step]:
        opening = json.dumps(request["messages"][0])
        return next((steps for key, steps in self.subagents.items() if key in opening), self.steps)


def _events(step: Step, turn: int, model: str) -> Iterator[Json]:
    usage = step.usage.as_json()
    yield {
        "type": "message_start",
        "message": {
            "id": f"msg_{turn:04d}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | {"output_tokens": 1},
        },
    }
    if isinstance(step, Text):
        block: Json = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": step.text}
        reason = "end_turn"
    else:
        block = {"type": "tool_use", "id": f"toolu_{turn:04d}", "name": step.name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(step.input)}
        reason = "tool_use"
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None},
        "usage": usage,
    }
    yield {"type": "message_stop"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    messages_api: MessagesApi

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_HEAD(self) -> None:
        self._send(b"", "application/json")

    def do_GET(self) -> None:
        self._send(b"{}", "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not self.path.startswith("/v1/messages"):
            self._send(b"{}", "application/json")
        elif "count_tokens" in self.path:
            self._send(b'{"input_tokens":100}', "application/json")
        else:
            self._send(self.messages_api.answer(json.loads(body)), "text/event-stream")

    def _send(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
