"""The contract as one frozen tree in which every value knows where it came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from better_claude.model import Enforcement

BUILT_IN = "built-in"


def whole_milliseconds(ns: int) -> int:
    """Return what the launcher counts a time limit in, at least 1: a limit of 0 would be none."""
    return max(1, ns // 1_000_000)


class Authority(Enum):
    """What a file may do to a limit: the user's sets it, a project's only tightens it."""

    SET = "set"
    TIGHTEN = "tighten"


@dataclass(frozen=True, slots=True)
class Value:
    """One setting: what it means, how it was written, and the file that said so."""

    parsed: int | bool | str
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one run: milliseconds, bytes, and whether they bite."""

    timeout_ms: int
    memory_bytes: int
    enforcement: Enforcement

    def tightened(self, other: "Limits") -> "Limits":
        """Return the stricter of both, setting by setting."""
        enforce = Enforcement.ENFORCE in (self.enforcement, other.enforcement)
        return Limits(
            timeout_ms=min(self.timeout_ms, other.timeout_ms),
            memory_bytes=min(self.memory_bytes, other.memory_bytes),
            enforcement=Enforcement.ENFORCE if enforce else Enforcement.OBSERVE,
        )


@dataclass(frozen=True, slots=True)
class HookTerms:
    """What the contract says of the hooks that ``pattern`` names; None where it is silent."""

    pattern: str
    timeout_ms: int | None = None
    memory_bytes: int | None = None
    enforcement: Enforcement | None = None
    origin: str = BUILT_IN
    authority: Authority = Authority.SET

    def apply(self, limits: Limits) -> Limits:
        """Return ``limits`` with what these terms say, within their authority."""
        said = Limits(
            timeout_ms=self.timeout_ms or limits.timeout_ms,
            memory_bytes=self.memory_bytes or limits.memory_bytes,
            enforcement=self.enforcement or limits.enforcement,
        )
        return limits.tightened(said) if self.authority is Authority.TIGHTEN else said

    def matches(self, key: str, name: str, command: str) -> bool:
        """Tell whether a hook is meant, by key, name or pattern over its command."""
        return self.pattern in (key, name) or fnmatchcase(command, self.glob)

    @property
    def glob(self) -> str:
        """The pattern as fnmatch(3) reads it: a bare name matches as a whole word's tail."""
        return self.pattern if any(c in self.pattern for c in "*?[") else f"*{self.pattern}*"


@dataclass(frozen=True, slots=True)
class Contract:
    """Every setting by its dotted name, and the terms of single hooks.

    ``values`` holds each leaf of defaults.toml, so a dotted name that it lacks is a bug of ours
    (KeyError). Durations are nanoseconds, sizes bytes, tokens and flags themselves.
    """

    values: Mapping[str, Value]
    hooks: tuple[HookTerms, ...] = field(default=())

    def number(self, name: str) -> int:
        """Return a setting that is a number, in nanoseconds, bytes or tokens."""
        return int(self.values[name].parsed)

    def flag(self, name: str) -> bool:
        """Return a setting that is true or false."""
        return bool(self.values[name].parsed)

    @property
    def enforcement(self) -> Enforcement:
        """What limits do where no hook's own terms say otherwise."""
        return Enforcement(str(self.values["mode"].parsed))

    @property
    def origin(self) -> str:
        """The last file that says anything, or ``BUILT_IN`` where none does."""
        said = [value.origin for value in self.values.values()]
        said += [terms.origin for terms in self.hooks]
        return next((origin for origin in reversed(said) if origin != BUILT_IN), BUILT_IN)

    def event_names(self) -> Iterator[str]:
        """Yield the events that have a limit of their own."""
        for name in self.values:
            section, _, event = name.partition(".")
            if section == "hook_timeouts" and event not in ("default", "background"):
                yield event

    def event_limits(self, event: str) -> Limits:
        """Return what holds for a hook of ``event`` that has no terms of its own."""
        name = f"hook_timeouts.{event}"
        timeout = self.values.get(name) or self.values["hook_timeouts.default"]
        return Limits(
            timeout_ms=whole_milliseconds(int(timeout.parsed)),
            memory_bytes=self.number("memory.hook"),
            enforcement=self.enforcement,
        )

    def hook_limits(self, event: str, key: str, name: str, command: str) -> Limits:
        """Return what holds for one hook of ``event``; later terms win, setting by setting."""
        limits = self.event_limits(event)
        for terms in self.hooks:
            if terms.matches(key, name, command):
                limits = terms.apply(limits)
        return limits
