"""What our settings add to a user's: the prefix, telemetry and the context window."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from better_claude.claude.settings.file import environment_of
from better_claude.claude.settings.telemetry import Receiver, route

PREFIX = "CLAUDE_CODE_SHELL_PREFIX"
EARLIER_PREFIX = "BETTER_CLAUDE_PREFIX"
STATE = "BETTER_CLAUDE_STATE"
WINDOW = "autoCompactWindow"
PERCENT = "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"

# Seen (2.1.330): compaction starts at min(pct * room, room - 13000), room = window - 20000.
RESERVED_TOKENS = 20_000
BUFFER_TOKENS = 13_000
# Docs: what the client accepts as a window.
SMALLEST_WINDOW, LARGEST_WINDOW = 100_000, 1_000_000


@dataclass(frozen=True, slots=True)
class ContextTerms:
    """What the contract says of the context, in tokens."""

    maximum: int
    compress_from: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What is to be put in force; ``state`` only where it is not the default folder.

    ``receiver`` is None where telemetry is not wanted or would not be heeded.
    """

    launcher: Path
    context: ContextTerms
    receiver: Receiver | None = None
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Overlay:
    """Members to set, by their path; destinations to feed; what a person should know."""

    members: Mapping[tuple[str, ...], object]
    forward: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def chained_prefix(self) -> str:
        """The prefix that is called inside ours, empty for none."""
        return str(self.members.get(("env", EARLIER_PREFIX), ""))

    def as_settings(self) -> dict[str, Any]:
        """Return the members as one settings document, for ``--settings``."""
        document: dict[str, Any] = {}
        for path, value in self.members.items():
            place = document
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = value
        return document


def overlay(settings: Mapping[str, Any], terms: Terms, environ: Mapping[str, str]) -> Overlay:
    """Return what has to be set over ``settings``, which stand over the environment."""
    own = environment_of(dict(settings))
    members: dict[tuple[str, ...], object] = {}
    notes: list[str] = []
    for name, value in _prefix(own, terms).items():
        members["env", name] = value
    forward: Mapping[str, Any] = {}
    if terms.receiver is not None:
        routing = route({**environ, **own}, terms.receiver, settings)
        members |= {("env", name): value for name, value in routing.variables.items()}
        forward = routing.forward
        if routing.refusal:
            notes.append(
                f"Your telemetry is left alone: {routing.refusal}. Hooks, tools and servers are"
                " measured all the same; API calls and tokens are not."
            )
    context, note = _context(settings, own, terms.context)
    members |= context
    if note:
        notes.append(note)
    return Overlay(members, forward, tuple(notes))


def is_launcher(prefix: str) -> bool:
    """Tell whether a prefix is a launcher of ours, of whatever state folder."""
    path = Path(prefix.strip())
    return (
        path.is_absolute()
        and path.parts[-2:] == ("bin", "launcher")
        and (
            (path.parent.parent / "policy").exists()
            or (path.parent.parent / "port").exists()
            or "better-claude" in path.parts
        )
    )


def earlier_prefix(env: Mapping[str, str], launcher: Path) -> str:
    """Return the user's own prefix, empty if there is none or it is ours."""
    prefix = env.get(PREFIX, "").strip()
    return "" if prefix == str(launcher) or is_launcher(prefix) else prefix


def compaction_start(window: int, percent: float | None) -> int:
    """Return the used tokens at which the client compacts; ``percent`` is its override."""
    room = window - RESERVED_TOKENS
    limit = room - BUFFER_TOKENS
    return limit if percent is None else min(math.floor(room * percent / 100), limit)


def _prefix(own: Mapping[str, str], terms: Terms) -> dict[str, str]:
    variables = {PREFIX: str(terms.launcher)}
    earlier = earlier_prefix(own, terms.launcher)
    if earlier:
        variables[EARLIER_PREFIX] = earlier
    if terms.state is not None:
        variables[STATE] = str(terms.state)
    return variables


def _context(
    settings: Mapping[str, Any], own: Mapping[str, str], terms: ContextTerms
) -> tuple[dict[tuple[str, ...], object], str]:
    """Return the members that make compaction start in time, and a note; stricter settings stay."""
    theirs = settings.get(WINDOW)
    if settings.get("autoCompactEnabled") is False:
        return {}, "autoCompactEnabled is false: the context is not compacted by itself."
    if theirs is not None and (isinstance(theirs, bool) or not isinstance(theirs, int)):
        return {}, f"{WINDOW} is not one number: it is left as it is."
    percent = _percent(own.get(PERCENT, ""))
    if theirs is not None and theirs <= terms.maximum:
        window = max(theirs, SMALLEST_WINDOW)
        if compaction_start(window, percent) <= terms.compress_from:
            return {}, ""
    else:
        window = min(max(terms.maximum, SMALLEST_WINDOW), LARGEST_WINDOW)
    # Rounded down, so that compaction never starts later than the contract says.
    wanted = min(100.0, math.floor(10_000 * terms.compress_from / (window - RESERVED_TOKENS)) / 100)
    if percent is not None:
        wanted = min(wanted, percent)
    return {(WINDOW,): window, ("env", PERCENT): f"{wanted:g}"}, ""


def _percent(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value <= 100 else None
