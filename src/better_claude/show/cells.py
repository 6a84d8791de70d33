"""Spell single figures: with units, empty where nothing is to say, marked where it is wrong."""

from collections.abc import Mapping

from better_claude.model import Outcome
from better_claude.show.table import QUIET, WARN, WRONG, Cell
from better_claude.units import format_duration, format_size

# A figure this close to its limit is worth a look, before it is worth an action.
_NEAR = 0.8

_WORDS = {
    Outcome.OK: ("ok", ""),
    Outcome.BLOCKED: ("blocked", ""),
    Outcome.ERROR: ("error", WRONG),
    Outcome.TIMEOUT: ("timeout", WRONG),
    Outcome.OVER_MEMORY: ("memory", WRONG),
    Outcome.CANCELLED: ("cancelled", QUIET),
    Outcome.LOST: ("lost", WARN),
    Outcome.UNKNOWN: ("unknown", QUIET),
}
# What the tables print, for who asks for it again.
OUTCOME_OF_WORD = {word: value for value, (word, _) in _WORDS.items()}


def count(number: int) -> str:
    """Spell a count with thousands apart; nothing is the empty text."""
    return f"{number:,}" if number else ""


def bad_count(number: int) -> Cell:
    """Spell a count of things that should not be."""
    return Cell(f"{number:,}", WRONG) if number else Cell("0", QUIET)


def duration(ns: int, limit_ns: int = 0) -> Cell:
    """Spell nanoseconds; near and past ``limit_ns`` (0: none) they are marked."""
    return Cell(format_duration(ns), _mark(ns, limit_ns)) if ns > 0 else Cell("")


def milliseconds(ms: int) -> Cell:
    """Spell milliseconds, which is as fine as the client counts."""
    return duration(ms * 1_000_000)


def size(size_bytes: int, limit_bytes: int = 0) -> Cell:
    """Spell bytes; 0 and -1 (not told) are empty, near and past the limit they are marked."""
    return (
        Cell(format_size(size_bytes), _mark(size_bytes, limit_bytes))
        if size_bytes > 0
        else Cell("")
    )


def tokens(number: int) -> str:
    """Spell tokens in three digits: ``950``, ``12.3k``, ``1.25M``."""
    if number < 1_000:
        return count(number)
    if number < 999_500:
        return f"{number / 1_000:.3g}k"
    return f"{number / 1_000_000:.3g}M" if number < 1_000_000_000 else f"{number / 1e9:.2f}G"


def dollars(usd: float) -> str:
    """Spell a cost in US dollars; none is empty."""
    return f"${usd:,.2f}" if usd >= 0.005 else "<$0.01" if usd > 0 else ""


def outcome(value: Outcome) -> Cell:
    """Name an outcome; the bad ones are marked."""
    return Cell(*_WORDS[value])


def outcome_list(outcomes: Mapping[str, int]) -> str:
    """Spell what went wrong and how often: ``2 timeout, 1 error``; nothing wrong is empty."""
    bad = (Outcome.TIMEOUT, Outcome.OVER_MEMORY, Outcome.ERROR, Outcome.LOST)
    return ", ".join(f"{outcomes[o]:,} {_WORDS[o][0]}" for o in bad if outcomes.get(o))


def short_session(session: str) -> str:
    """Return the first eight characters of a session's id, which ``--session`` takes as it is."""
    return session[:8]


def plural(number: int, noun: str) -> str:
    """Spell ``1 run`` and ``2 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _mark(value: float, limit: float) -> str:
    if limit <= 0 or value < limit * _NEAR:
        return ""
    return WRONG if value >= limit else WARN
