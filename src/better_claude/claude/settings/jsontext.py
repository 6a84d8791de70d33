"""Change single members of a JSON text and leave every other byte as it stands.

A settings file is somebody's text: order, indentation, blank lines and escapes are theirs. So
members are put and dropped in the text itself; nothing is parsed and printed again.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//|/\*')
_TRAILING_COMMA = re.compile(r",\s*[}\]]")
_BOM = "\ufeff"
_INDENT = "  "


class JsonTextError(ValueError):
    """A text that is not one strict JSON object; ``kind`` says in which way."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Member:
    """One ``"key": value``: offsets of the key's quote, behind it, of the value, and behind it."""

    key: str
    start: int
    key_end: int
    value: int
    end: int


def parse_object(text: str) -> dict[str, Any]:
    """Return the one object that ``text`` is.

    Raises JsonTextError with kind ``comments``, ``duplicate-key``, ``not-object`` or ``broken``
    (which names line and column) for anything else, so that no edit ever guesses.
    """
    start = _start(text)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _refusal(text, error) from error
    except RecursionError as error:
        raise JsonTextError("broken", "it is nested too deeply") from error
    except ValueError as error:
        if isinstance(error, JsonTextError):
            raise
        raise JsonTextError("broken", str(error)) from error
    rest = _skip(text, end)
    if rest != len(text):
        raise _refusal(text, json.JSONDecodeError("Extra data", text, rest))
    if not isinstance(value, dict):
        raise JsonTextError("not-object", f"it is a {_kind_of(value)}, not an object")
    return value


def put(text: str, path: Sequence[str], value: object) -> str:
    """Return ``text`` with the member at ``path`` set; objects on the way are made.

    ``text`` is one that `parse_object` takes. Raises KeyError where the way leads through something
    that is no object.
    """
    return _put(text, _start(text), tuple(path), value, "")


def drop(text: str, path: Sequence[str]) -> str:
    """Return ``text`` without the member at ``path``; a text without it is returned as it is."""
    start = _start(text)
    for key in path[:-1]:
        member = _find(text, start, key)
        if member is None or text[member.value] != "{":
            return text
        start = member.value
    members, close = _members(text, start)
    place = next((i for i, member in enumerate(members) if member.key == path[-1]), None)
    if place is None:
        return text
    if len(members) == 1:
        return text[: start + 1] + text[close:]
    if place == 0:
        return text[: members[0].start] + text[members[1].start :]
    return text[: members[place - 1].end] + text[members[place].end :]


def value_text(text: str, path: Sequence[str]) -> str | None:
    """Return the value at ``path`` as it is written, None if there is none."""
    place = span(text, path)
    return text[place[0] : place[1]] if place else None


def span(text: str, path: Sequence[str | int]) -> tuple[int, int] | None:
    """Return where the value at ``path`` begins and ends; numbers count elements of a list."""
    start = _start(text)
    end = len(text)
    for step in path:
        if isinstance(step, int):
            places = elements(text, start) if text[start] == "[" else []
            if step >= len(places):
                return None
            start, end = places[step]
        else:
            member = _find(text, start, step) if text[start] == "{" else None
            if member is None:
                return None
            start, end = member.value, member.end
    return start, end


def elements(text: str, start: int) -> list[tuple[int, int]]:
    """Return where each element of the list that begins at ``start`` begins and ends."""
    found: list[tuple[int, int]] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        found.append((at, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def put_text(text: str, path: Sequence[str], written: str) -> str:
    """Return ``text`` with the value at ``path`` written exactly so."""
    marked = put(text, path, None)
    start = _start(marked)
    for key in path[:-1]:
        member = _find(marked, start, key)
        assert member is not None
        start = member.value
    member = _find(marked, start, path[-1])
    assert member is not None
    return marked[: member.value] + written + marked[member.end :]


def _put(text: str, start: int, path: tuple[str, ...], value: object, indent: str) -> str:
    member = _find(text, start, path[0])
    if member is None:
        for key in reversed(path[1:]):
            value = {key: value}
        return _insert(text, start, path[0], value, indent)
    if len(path) == 1:
        return text[: member.value] + _write(value, None, ": ") + text[member.end :]
    if text[member.value] != "{":
        raise KeyError(path[0])
    return _put(text, member.value, path[1:], value, _indent_of(text, member.start) or indent)


def _insert(text: str, start: int, key: str, value: object, indent: str) -> str:
    members, close = _members(text, start)
    newline = "\r\n" if "\r\n" in text else "\n"
    if not members:
        # An empty object on one line of a compact file stays compact; an empty file gets lines.
        if start != _start(text) and "\n" not in text.strip():
            return text[: start + 1] + _member(key, value, None, ":") + text[close:]
        inner = newline + indent + (_unit(text) or _INDENT)
        body = inner + _member(key, value, inner, ": ") + newline + indent
        return text[: start + 1] + body + text[close:]
    first, last = members[0], members[-1]
    lead = text[start + 1 : first.start]
    colon = text[first.key_end : first.value]
    colon = ": " if "\n" in colon else colon
    if len(members) > 1:
        separator = text[members[-2].end : last.start]
    elif "\n" in lead:
        separator = "," + lead
    else:
        separator = ", " if colon.endswith(" ") else ","
    inner_lead = newline + _indent_of(text, last.start) if "\n" in separator else None
    return text[: last.end] + separator + _member(key, value, inner_lead, colon) + text[last.end :]


def _member(key: str, value: object, lead: str | None, colon: str) -> str:
    return json.dumps(key, ensure_ascii=False) + colon + _write(value, lead, colon)


def _write(value: object, lead: str | None, colon: str) -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    if lead is None:
        comma = ", " if colon.endswith(" ") else ","
        return "{" + comma.join(_member(k, v, None, colon) for k, v in value.items()) + "}"
    unit = lead.lstrip("\r\n") or _INDENT
    inner = lead + (unit if len(unit) < 8 else _INDENT)
    body = ("," + inner).join(_member(k, v, inner, colon) for k, v in value.items())
    return "{" + inner + body + lead + "}"


def _members(text: str, start: int) -> tuple[list[Member], int]:
    """Return the members of the object that begins at ``start``, and where its brace closes."""
    found: list[Member] = []
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, key_end = scanstring(text, at + 1, True)
        value = _skip(text, _skip(text, key_end) + 1)
        _, end = _DECODER.raw_decode(text, value)
        found.append(Member(key, at, key_end, value, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found, at


def _find(text: str, start: int, key: str) -> Member | None:
    return next((member for member in _members(text, start)[0] if member.key == key), None)


def _unit(text: str) -> str:
    members, _ = _members(text, _start(text))
    return _indent_of(text, members[0].start) if members else ""


def _indent_of(text: str, at: int) -> str:
    """Return the blanks before ``at`` if nothing else stands before it on its line."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line if not line.strip(" \t") and "\n" in text[:at] else ""


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _start(text: str) -> int:
    return _skip(text, 1 if text.startswith(_BOM) else 0)


def _refusal(text: str, error: json.JSONDecodeError) -> JsonTextError:
    where = f"line {error.lineno}, column {error.colno}"
    comment = next(
        (match for match in _STRING_OR_COMMENT.finditer(text) if match[0][0] == "/"), None
    )
    if comment is not None:
        line = text.count("\n", 0, comment.start()) + 1
        return JsonTextError("comments", f"it has a comment (line {line})")
    if _TRAILING_COMMA.search(text, max(0, error.pos - 80)) and error.pos < len(text):
        return JsonTextError("broken", f"it has a comma too many near {where}")
    return JsonTextError("broken", f"{error.msg} ({where})")


def _kind_of(value: object) -> str:
    names = {list: "list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "number")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonTextError("duplicate-key", f"it has the key {twice!r} twice in one object")
    return result


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def _constant(name: str) -> Any:
    raise JsonTextError("broken", f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_int=_integer, parse_constant=_constant)
