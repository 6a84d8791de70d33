"""Read points in time as people write them: ``1h``, ``today``, ``2026-11-01T10:00``."""

from datetime import UTC, datetime, timedelta, tzinfo

from better_claude.errors import UsageError
from better_claude.units import parse_duration

_SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, now_ns: int, zone: tzinfo | None = None) -> int:
    """Return the wall-clock nanoseconds that ``text`` means, seen from ``now_ns``.

    A duration counts back from now; ``today`` and ``yesterday`` mean midnight; an ISO 8601 date or
    time without an offset is in ``zone``, the machine's own by default.
    Raises UsageError (``bad-time``) for anything else, and for what 64 bits of ns cannot hold.
    """
    word = text.strip()
    named = _named(word.lower(), now_ns, zone)
    if named is not None:
        return named
    try:
        return now_ns - parse_duration(word)
    except ValueError:
        pass
    try:
        return _storable(_nanoseconds(datetime.fromisoformat(word), zone))
    except (ValueError, OverflowError):
        raise UsageError(
            "bad-time",
            f"{text!r} is not a time",
            "Write a duration (30min, 1h, 7d), today, yesterday, or a date (2026-11-01T10:00).",
        ) from None


def _named(word: str, now_ns: int, zone: tzinfo | None) -> int | None:
    if word == "now":
        return now_ns
    if word not in ("today", "yesterday"):
        return None
    day = local(now_ns, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=zone)
    return _nanoseconds(day - timedelta(days=word == "yesterday"), zone)


def _nanoseconds(moment: datetime, zone: tzinfo | None) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone) if zone else moment.astimezone()
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _storable(time_ns: int) -> int:
    if not -(1 << 63) <= time_ns < 1 << 63:
        raise OverflowError
    return time_ns


def local(time_ns: int, zone: tzinfo | None = None) -> datetime:
    """Return the clock time of ``time_ns`` in ``zone``, the machine's own by default."""
    return datetime.fromtimestamp(time_ns // _SECOND_NS, UTC).astimezone(zone)


def clock_time(time_ns: int, now_ns: int, zone: tzinfo | None = None) -> str:
    """Spell a time as short as it stays clear: ``14:03:09`` today, ``11-22 14:03`` within the year.

    Older times read ``2025-11-22``; 0, which stands for a time that is not known, is empty.
    """
    if time_ns <= 0:
        return ""
    then, now = local(time_ns, zone), local(now_ns, zone)
    if then.date() == now.date():
        return f"{then:%H:%M:%S}"
    return f"{then:%m-%d %H:%M}" if then.year == now.year else f"{then:%Y-%m-%d}"
