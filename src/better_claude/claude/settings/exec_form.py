"""Put the launcher in front of exec-form hooks, and take it away again, in the text itself.

``"command": "node", "args": ["guard.js"]`` becomes ``"command": "<launcher>", "args": ["node",
"guard.js"]``: the launcher runs several arguments without a shell. The program's own text moves
into the list and back as it is written, so that undoing gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from better_claude.claude.settings.jsontext import elements, parse_object, span

Place = tuple[str | int, ...]


def wrap(text: str, places: Sequence[Place], launcher: Path) -> str:
    """Return ``text`` with the launcher in front of the exec-form hooks at ``places``."""
    for place in places:
        command, args = span(text, (*place, "command")), span(text, (*place, "args"))
        if command is None or args is None:
            continue
        program = text[slice(*command)]
        parts = elements(text, args[0])
        if parts:
            at = parts[0][0]
            gap = text[parts[0][1] : parts[1][0]] if len(parts) > 1 else ", "
            insert = program + gap
        else:
            at, insert = args[0] + 1, program
        text = _splice(text, ((at, at), insert), (command, json.dumps(str(launcher))))
    return text


def unwrap(text: str, launcher: Path) -> str:
    """Return ``text`` with every exec-form hook that begins with ``launcher`` as it was before."""
    for place in wrapped_places(parse_object(text), launcher):
        command, args = span(text, (*place, "command")), span(text, (*place, "args"))
        assert command is not None
        assert args is not None
        parts = elements(text, args[0])
        program = text[slice(*parts[0])]
        end = parts[1][0] if len(parts) > 1 else parts[0][1]
        text = _splice(text, ((parts[0][0], end), ""), (command, program))
    return text


def _splice(text: str, *edits: tuple[tuple[int, int], str]) -> str:
    # From the end to the beginning, so that the places of the others stay right.
    for (start, end), new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def wrapped_places(settings: Mapping[str, Any], launcher: Path) -> Iterator[Place]:
    """Yield where an exec-form hook begins with ``launcher``."""
    hooks = settings.get("hooks")
    for event, groups in hooks.items() if isinstance(hooks, dict) else ():
        for i, group in enumerate(groups if isinstance(groups, list) else ()):
            handlers = group.get("hooks") if isinstance(group, dict) else None
            for j, handler in enumerate(handlers if isinstance(handlers, list) else ()):
                if _is_wrapped(handler, launcher):
                    yield ("hooks", event, i, "hooks", j)


def _is_wrapped(handler: Any, launcher: Path) -> bool:
    return (
        isinstance(handler, dict)
        and handler.get("command") == str(launcher)
        and isinstance(handler.get("args"), list)
        and bool(handler["args"])
        and isinstance(handler["args"][0], str)
    )
