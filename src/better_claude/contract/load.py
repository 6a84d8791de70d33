"""Read contract files and merge them: built-in, then user, then project."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from better_claude.contract.tree import (
    BUILT_IN,
    Authority,
    Contract,
    HookTerms,
    Value,
    whole_milliseconds,
)
from better_claude.errors import ContractError
from better_claude.model import Enforcement
from better_claude.paths import read_regular_file
from better_claude.units import parse_duration, parse_size

PROJECT_FILE = Path(".better-claude/contract.toml")
HOOK_KEYS = ("timeout", "memory", "mode")

# How a leaf is read, by the most specific dotted prefix.
_DURATIONS = ("hook_timeouts.", "stop.", "retention.", "service.sample_every")
_SIZES = ("memory.",)
# What a project may say at all: limits, and those only downwards.
_TIGHTENABLE = ("hook_timeouts.", "memory.", "context.")
_MAXIMUM_BYTES = 1 << 20


def load_contract(user: Path | None = None, project: Path | None = None) -> Contract:
    """Return the contract in force for ``project``, a folder, and the user's file ``user``.

    Files that do not exist count as empty. Raises ContractError, which names the file, the key and
    the nearest known key, for anything that cannot be understood, and for a project file that
    would loosen a limit.
    """
    contract = built_in_contract()
    if user is not None:
        contract = _merge(contract, user, Authority.SET)
    if project is not None:
        contract = _merge(contract, project / PROJECT_FILE, Authority.TIGHTEN)
    return contract


@cache
def built_in_contract() -> Contract:
    """Return the defaults, which every other file is merged over."""
    # Not importlib.resources: it brings tempfile and zipfile, 6 ms that `status` would wait for.
    text = Path(__file__).with_name("defaults.toml").read_text("utf-8")
    leaves = _leaves(tomllib.loads(text))
    return Contract({name: _value(name, raw, BUILT_IN) for name, raw in leaves})


def _merge(base: Contract, path: Path, authority: Authority) -> Contract:
    origin = str(path)
    document = _read(path)
    hooks = document.pop("hook", {})
    values = dict(base.values)
    for name, raw in _leaves(document):
        _check_known(name, values, origin)
        # A new event inherits the default, so that "tighter" has something to be compared with.
        old = values.get(name) or values["hook_timeouts.default"]
        new = _value(name, raw, origin)
        values[name] = new if authority is Authority.SET else _tighter(name, old, new)
    terms = tuple(_hook_terms(hooks, origin, authority))
    return Contract(values, base.hooks + terms)


def _tighter(name: str, old: Value, new: Value) -> Value:
    if name == "mode":
        return old if new.parsed == Enforcement.OBSERVE else new
    if not name.startswith(_TIGHTENABLE):
        raise ContractError(
            "project-setting",
            f"{new.origin}: a project cannot set {name}",
            "Move it to your own contract file; a project may only tighten limits.",
        )
    return new if int(new.parsed) < int(old.parsed) else old


def _read(path: Path) -> dict[str, Any]:
    try:
        data = read_regular_file(path, _MAXIMUM_BYTES + 1)
        if len(data) > _MAXIMUM_BYTES:
            raise ContractError("contract-unreadable", f"{path} is larger than 1 MB")
        return tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ContractError(
            "contract-unreadable",
            f"{path} cannot be read: {error}",
            "Mend the file, or move it away to use the built-in contract.",
        ) from error


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_known(name: str, known: Mapping[str, Value], origin: str) -> None:
    section, _, event = name.partition(".")
    if name in known or (
        section == "hook_timeouts" and event.isidentifier() and event[0].isupper()
    ):
        return
    close = difflib.get_close_matches(name, known, n=1)
    # Not `contract show`: it cannot show a contract that it cannot read.
    sections = ", ".join(sorted({each.partition(".")[0] for each in known}))
    hint = f"Did you mean {close[0]}?" if close else f"Known: {sections}"
    raise ContractError("unknown-key", f"{origin}: {name} is not a setting of the contract", hint)


def _value(name: str, raw: Any, origin: str) -> Value:
    try:
        return Value(
            _parse(name, raw), str(raw).lower() if isinstance(raw, bool) else str(raw), origin
        )
    except ValueError as error:
        raise ContractError(
            "bad-value", f"{origin}: {name}: {error}", "Mend the value in that file."
        ) from error


def _parse(name: str, raw: Any) -> int | bool | str:
    if name == "mode":
        return _enforcement(raw)
    if name.startswith(_DURATIONS):
        return _positive(parse_duration(_text(raw)))
    if name.startswith(_SIZES):
        return _positive(parse_size(_text(raw)))
    if name == "service.autostart":
        if not isinstance(raw, bool):
            raise ValueError(f"{raw!r} is neither true nor false")
        return raw
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise ValueError(f"{raw!r} is not a whole number")
    return _positive(raw)


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"{raw!r} lacks a unit; write it in quotes, like '2000ms' or '50MB'")
    return raw


def _positive(number: int) -> int:
    if number <= 0:
        raise ValueError("must be more than zero; use mode = 'observe' to switch a limit off")
    return number


def _enforcement(raw: Any) -> Enforcement:
    try:
        return Enforcement(raw)
    except ValueError:
        raise ValueError(f"{raw!r} is neither 'enforce' nor 'observe'") from None


def _hook_terms(hooks: Any, origin: str, authority: Authority) -> Iterator[HookTerms]:
    if not isinstance(hooks, dict) or not all(isinstance(terms, dict) for terms in hooks.values()):
        raise ContractError("bad-value", f'{origin}: hook must be tables like [hook."guard.py"]')
    for pattern, raw in hooks.items():
        for key in raw:
            if key not in HOOK_KEYS:
                close = difflib.get_close_matches(key, HOOK_KEYS, n=1)
                hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(HOOK_KEYS)}"
                raise ContractError(
                    "unknown-key", f"{origin}: hook.{pattern}.{key} is not a setting", hint
                )
        yield _one_hook(pattern, raw, origin, authority)


def _one_hook(pattern: str, raw: Mapping[str, Any], origin: str, authority: Authority) -> HookTerms:
    try:
        return HookTerms(
            pattern=pattern,
            timeout_ms=whole_milliseconds(_positive(parse_duration(_text(raw["timeout"]))))
            if "timeout" in raw
            else None,
            memory_bytes=_positive(parse_size(_text(raw["memory"]))) if "memory" in raw else None,
            enforcement=_enforcement(raw["mode"]) if "mode" in raw else None,
            origin=origin,
            authority=authority,
        )
    except ValueError as error:
        raise ContractError("bad-value", f"{origin}: hook.{pattern}: {error}") from error
