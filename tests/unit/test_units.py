"""Durations and sizes, as the contract spells them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from better_claude.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2000ms", 2_000_000_000),
        ("5min", 300_000_000_000),
        ("1.5s", 1_500_000_000),
        (" 30 d ", 30 * 86_400_000_000_000),
        ("250us", 250_000),
    ],
)
def test_durations(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    ("text", "size"), [("50MB", 50 * 1024**2), ("1GB", 1024**3), ("0.5KB", 512), ("7B", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "ms", "-5ms", "5 parsecs", "5mb", "1e3s", "5ms5ms"])
def test_what_is_no_quantity_is_refused_with_the_units(text: str) -> None:
    with pytest.raises(ValueError, match="units:"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 400 + "s", "300000d", "9223372036854775807ns"])
def test_what_nothing_can_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than a duration can be"):
        parse_duration(text)
    with pytest.raises(ValueError, match="more than a size can be"):
        parse_size("8388608TB")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (1_234, "1.23 µs"),
        (999_999, "1000 µs"),
        (12_300_000, "12.3 ms"),
        (1_000_000_000, "1 s"),
        (125_000_000_000, "2m 05s"),
        (7_260_000_000_000, "2h 01m"),
    ],
)
def test_durations_for_people(ns: int, text: str) -> None:
    assert format_duration(ns) == text


@given(st.integers(min_value=0, max_value=2**60))
def test_sizes_for_people_read_back_within_their_digits(size: int) -> None:
    text = format_size(size)
    assert abs(parse_size(text) - size) <= size * 0.006
