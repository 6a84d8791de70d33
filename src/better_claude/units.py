"""Spell and read durations and sizes as the contract writes them."""

import re

_DURATION_NS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "min": 60_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
# Memory sizes are powers of two, as in Docker, systemd and the kernel's own limits.
_SIZE_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
# What the store, the kernel and the launcher can count: 292 years in ns, 8 EB.
_MOST = (1 << 63) - 1
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def _parse(text: str, scale: dict[str, int], kind: str, example: str) -> int:
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in scale:
        units = ", ".join(scale)
        raise ValueError(f"{text!r} is not a {kind}; write it like {example!r} (units: {units})")
    quantity = float(match[1]) * scale[match[2]]
    if quantity >= _MOST:
        raise ValueError(f"{text[:20]!r} is more than a {kind} can be")
    return round(quantity)


def parse_duration(text: str) -> int:
    """Return the nanoseconds in ``"2000ms"``, ``"5min"`` or ``"1.5s"``.

    Raises ValueError, with the accepted units, for anything else.
    """
    return _parse(text, _DURATION_NS, "duration", "2000ms")


def parse_size(text: str) -> int:
    """Return the bytes in ``"50MB"`` or ``"1GB"``; a KB is 1024 bytes.

    Raises ValueError, with the accepted units, for anything else.
    """
    return _parse(text, _SIZE_BYTES, "size", "50MB")


def format_duration(ns: float) -> str:
    """Spell nanoseconds for people with three digits: ``"1.23 ms"``, ``"4.5 s"``, ``"2m 05s"``."""
    if ns < 1_000:
        return f"{ns:.0f} ns"
    if ns < 1_000_000:
        return f"{_digits(ns / 1e3)} µs"
    if ns < 1_000_000_000:
        return f"{_digits(ns / 1e6)} ms"
    if ns < 60_000_000_000:
        return f"{_digits(ns / 1e9)} s"
    minutes, seconds = divmod(round(ns / 1e9), 60)
    if minutes < 60:
        return f"{minutes}m {seconds:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m"


def format_size(size: float) -> str:
    """Spell bytes for people with three digits: ``"512 B"``, ``"1.5 KB"``, ``"50 MB"``."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{_digits(size)} {unit}"
        size /= 1024
    return f"{_digits(size)} TB"


def _digits(value: float) -> str:
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
