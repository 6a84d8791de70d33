"""Columns fit the reader: everything on a pipe, the weightiest on a terminal."""

import io

import pytest

from better_claude.show.screen import Screen
from better_claude.show.table import WRONG, Cell, Column, Room, lay_out, to_lines

Row = tuple[str, str, str]
COLUMNS: list[Column[Row]] = [
    Column("hook", lambda row: Cell(row[0], tail=row[2]), right=False, flexible=True, minimum=8),
    Column("p95", lambda row: row[1]),
    Column("note", lambda row: row[2], right=False, rank=1),
    Column("nothing", lambda row: "", rank=2),
]
ROWS: list[Row] = [
    ("guard.py", "12 ms", "a rather long remark"),
    ("a-hook-with-a-very-long-name.sh", "1.2 s", ""),
]


def rendered(width: int | None) -> list[str]:
    return to_lines(lay_out(COLUMNS, ROWS, Room(width)))


def test_a_pipe_gets_everything() -> None:
    assert rendered(None) == [
        "hook                               p95  note",
        "guard.py a rather long remark    12 ms  a rather long remark",
        "a-hook-with-a-very-long-name.sh  1.2 s",
    ]


def test_columns_leave_by_rank_and_names_are_shortened() -> None:
    assert rendered(24) == [
        "hook                 p95",
        "guard.py a rathe…  12 ms",
        "a-hook-with-a-ve…  1.2 s",
    ]


@pytest.mark.parametrize("width", [10, 20, 40, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert all(len(line) <= width for line in rendered(width))


def test_markup_and_escapes_are_only_text() -> None:
    hostile: Row = ("[red]x[/red]\x1b[2J", "1", ":smile:")
    text = "\n".join(to_lines(lay_out(COLUMNS, [hostile]), colour=True))
    assert "[red]x[/red]" in text
    assert ":smile:" in text
    assert "\x1b[2J" not in text


def test_without_rows_only_headings_remain() -> None:
    assert [place.heading for place in lay_out(COLUMNS, []).places] == ["hook", "p95"]


def test_a_stream_that_lacks_a_character_gets_a_question_mark() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    Screen(stream, None, colour=False).write_lines(["12 µs … 日"])
    stream.seek(0)
    assert stream.read() == "12 µs ? ?\n"


def test_wide_characters_take_two_cells() -> None:
    rows: list[Row] = [("日本語.py", "1", "ünï"), ("abc", "22", "")]
    assert to_lines(lay_out(COLUMNS[:2], rows)) == [
        "hook           p95",
        "日本語.py ünï    1",
        "abc             22",
    ]
    assert to_lines(lay_out(COLUMNS[:2], rows, Room(13))) == [
        "hook      p95",
        "日本語.…    1",
        "abc        22",
    ]


def test_style_is_around_text_and_never_around_padding() -> None:
    column: Column[str] = Column("n", lambda text: Cell(text, WRONG))
    assert to_lines(lay_out([column], ["1", "333"]), colour=True) == [
        "  \x1b[2mn\x1b[0m",
        "  \x1b[31m1\x1b[0m",
        "\x1b[31m333\x1b[0m",
    ]
