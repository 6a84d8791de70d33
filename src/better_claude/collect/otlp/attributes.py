"""Which attributes of telemetry are kept: names, sizes, times and codes, never content.

An attribute that is not named here is dropped, whatever a later client calls it: prompts, tool
parameters, error messages, commands, paths, users and accounts have no place in the store.
"""

import math
import re

from better_claude.collect.otlp.entries import Attributes, Scalar

LONGEST_TEXT = 256
LONGEST_NAME = 128
_INT64 = 1 << 63

# Texts that are names or codes of the client's own making.
NAMES = frozenset(
    {
        "model",
        "tool_name",
        "tool_use_id",
        "decision",
        "decision_source",
        "decision_type",
        "source",
        "hook_event",
        "hook_name",
        "hook_type",
        "hook_source",
        "trigger",
        "error_type",
        "error_code",
        "status",
        "status_code",
        "server_scope",
        "transport_type",
        "query_source",
        "speed",
        "type",
        "language",
        "agent_type",
        "subagent_type",
        "event_type",
        "start_type",
        "effort",
        "skill.name",
        "plugin.name",
    }
)
FLAGS = frozenset(
    {
        "success",
        "is_interrupt",
        "is_async",
        "cached",
        "retried",
        "warm",
    }
)
NUMBERS = frozenset(
    {
        "ttft_ms",
        "cost_usd",
        "attempt",
        "status_code",
        "error_code",
        "percentage",
        "usage",
    }
)
_NUMBER_SUFFIXES = (
    "_ms",
    "_s",
    "_bytes",
    "_tokens",
    "_count",
    "_length",
    "_usd",
    "_uses",
    "_percentage",
)
_NUMBER_PREFIXES = ("num_", "total_")
# Nothing that a person wrote: one line, no quotes, no shell, no address.
_NAME = re.compile(r"[\w.:/*|+,()\[\] -]{1,128}")
_CODE = re.compile(r"[\w.:-]{1,64}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def kept(attributes: Attributes) -> dict[str, Scalar]:
    """Return the attributes that hold no content; numbers that came as text become numbers."""
    found: dict[str, Scalar] = {}
    for name, value in attributes.items():
        keep = _kept(name, value)
        if keep is not None:
            found[name] = keep
    return found


def _kept(name: str, value: Scalar) -> Scalar | None:
    if name in FLAGS:
        return flag(value)
    if _is_number_name(name) and (found := number(value)) is not None:
        return found
    if name in NAMES and isinstance(value, str) and _NAME.fullmatch(value):
        return value
    return value if name in NAMES and isinstance(value, bool) else None


def _is_number_name(name: str) -> bool:
    if len(name) > LONGEST_NAME or not _CODE.fullmatch(name):
        return False
    return name in NUMBERS or name.endswith(_NUMBER_SUFFIXES) or name.startswith(_NUMBER_PREFIXES)


def text(value: object) -> str:
    """Return an id or a name as one printable line, cut to 256 characters; ``""`` for the rest."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return _UNPRINTABLE.sub("\ufffd", str(value)[:LONGEST_TEXT])


def code(value: object, otherwise: str) -> str:
    """Return ``value`` if it can only be a code, else ``otherwise``: messages may quote content."""
    found = text(value)
    return found if _CODE.fullmatch(found) else otherwise


def flag(value: object, otherwise: bool = False) -> bool:
    """Return true or false, also where it came as text."""
    if isinstance(value, str):
        return value.lower() == "true"
    return bool(value) if isinstance(value, bool | int) else otherwise


def number(value: object) -> int | float | None:
    """Return a number that SQLite can hold, also from text; None if it is none."""
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return max(-_INT64, min(_INT64 - 1, value))


def integer(value: object) -> int:
    """Return a count, size or time as a whole number of at least 0; 0 for anything else."""
    found = number(value)
    return 0 if found is None else max(0, min(_INT64 - 1, int(found)))


def real(value: object) -> float:
    """Return an amount; 0 for anything else."""
    found = number(value)
    return 0.0 if found is None else float(found)


def _parsed(digits: str) -> int | float | None:
    if len(digits) > 40:
        return None
    for kind in (int, float):
        try:
            return kind(digits)
        except ValueError:
            continue
    return None
