"""What comes from outside is printed without power over the terminal."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from better_claude.show.jsonl import json_line
from better_claude.show.text import clean


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("guard.py", "guard.py"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("a\r\nb\tc", "a  b c"),
        ("back\x08space\x7f", "backspace"),
        ("right\u202eto left", "rightto left"),
        ("zero\u200bwidth", "zerowidth"),
        ("no\u00a0break", "no break"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("日本語 ünï", "日本語 ünï"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_clean(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@given(st.text(st.characters(max_codepoint=0x2070) | st.sampled_from("\x1b[]\x9b;m\x07\\")))
def test_cleaned_text_is_printable_and_stays_so(raw: str) -> None:
    shown = clean(raw)
    assert shown.isprintable()
    assert clean(shown) == shown


class Named(msgspec.Struct):
    name: str
    wall_ns: int = 0


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_is_inert_and_means_the_same(raw: str) -> None:
    line = json_line(Named(raw, 7))
    assert line.isprintable()
    assert json.loads(line) == {"name": raw, "wall_ns": 7}


def test_sample_records_say_so() -> None:
    assert json.loads(json_line(Named("x"), sample=True)) == {
        "name": "x",
        "wall_ns": 0,
        "sample": True,
    }


def test_a_name_that_is_not_utf8_is_printed_all_the_same() -> None:
    line = json_line(Named("/caf\udce9"))
    assert line.isprintable()
    assert json.loads(line)["name"] == "/caf\udce9"
