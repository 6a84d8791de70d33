"""Times as people write and read them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from better_claude.errors import UsageError
from better_claude.show.moment import clock_time, parse_moment

BERLIN = ZoneInfo("Europe/Berlin")
SECOND = 1_000_000_000


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * SECOND


NOW = ns("2026-11-23T20:46:40+00:00")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "2026-11-23T20:46:40+00:00"),
        ("1h", "2026-11-23T19:46:40+00:00"),
        (" 90 min ", "2026-11-23T19:16:40+00:00"),
        ("7d", "2026-11-16T20:46:40+00:00"),
        ("today", "2026-11-23T00:00:00+01:00"),
        ("Yesterday", "2026-11-22T00:00:00+01:00"),
        ("2026-11-01", "2026-11-01T00:00:00+01:00"),
        ("2026-07-01T10:00", "2026-07-01T10:00:00+02:00"),
        ("2026-07-01 10:00:05", "2026-07-01T10:00:05+02:00"),
        ("2026-07-01T10:00:00Z", "2026-07-01T10:00:00+00:00"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59+00:00"),
    ],
)
def test_parse_moment(text: str, meant: str) -> None:
    assert parse_moment(text, NOW, BERLIN) == ns(meant)


def test_days_begin_at_midnight_across_a_clock_change() -> None:
    after_change = ns("2026-10-25T12:00:00+01:00")
    assert parse_moment("today", after_change, BERLIN) == ns("2026-10-25T00:00:00+02:00")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "1 fortnight",
        "2026-13-01",
        "-1h",
        "10:00",
        "300000d",
        "9999-12-31",
        "0001-01-02",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_moment(text, NOW, BERLIN)
    assert caught.value.slug == "bad-time"
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-11-23T10:00:05+01:00", "10:00:05"),
        ("2026-11-22T23:59:59+01:00", "11-22 23:59"),
        ("2025-12-31T23:59:59+01:00", "2025-12-31"),
    ],
)
def test_clock_time_is_as_short_as_clear(moment: str, shown: str) -> None:
    assert clock_time(ns(moment), NOW, BERLIN) == shown


def test_an_unknown_time_is_empty() -> None:
    assert clock_time(0, NOW, BERLIN) == ""
