"""Lay records out in columns that fit the reader: all on a pipe, the weightiest on a terminal.

A table is data until the last moment: columns name how to read a cell from a record, and what does
not fit is dropped by rank before the widest text is shortened.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from better_claude.show.text import clean

R = TypeVar("R")

GAP = 2
# Styles are SGR parameters (ECMA-48). Written by hand, because rich's console would cost a third of
# the time that a whole command may take.
QUIET = "2"
WARN = "33"
WRONG = "31"
GOOD = "32"
STRONG = "1"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place: text in a style, and a tail that is shortened first."""

    text: str
    style: str = ""
    tail: str = ""
    tail_style: str = QUIET

    def spelled(self) -> str:
        """Return text and tail as they are printed."""
        return f"{self.text} {self.tail}" if self.tail else self.text


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column: its heading, how to fill it, and what it is worth when room is short.

    ``rank`` 0 always stays; higher ranks leave first. ``flexible`` may be shortened to ``minimum``.
    """

    heading: str
    cell: Callable[[R], str | Cell]
    right: bool = True
    rank: int = 0
    flexible: bool = False
    minimum: int = 12


@dataclass(frozen=True, slots=True)
class Room:
    """What a table may fill: so many terminal cells (None: no edge), below a title."""

    width: int | None = None
    title: str = ""


NO_EDGE = Room()


@dataclass(frozen=True, slots=True)
class Place:
    """A column as laid out: its heading, side and width in terminal cells."""

    heading: str
    right: bool
    width: int


@dataclass(frozen=True, slots=True)
class Grid:
    """A laid-out table, independent of the type of its records; rows hold one cell a place."""

    places: tuple[Place, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    headed: bool = True


def lay_out(columns: Sequence[Column[R]], records: Iterable[R], room: Room = NO_EDGE) -> Grid:
    """Fill ``columns`` from ``records`` and keep those that fit into ``room``.

    Without an edge (a pipe, a file) everything stays at its full length. A column that has a rank
    and whose every cell is empty says nothing and is left out.
    """
    rows = [[_cell(column.cell(record)) for column in columns] for record in records]
    full = [_full_width(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    kept = [i for i, c in enumerate(columns) if c.rank == 0 or any(row[i].text for row in rows)]
    widths = full if room.width is None else _fit(columns, full, kept, room.width)
    return Grid(
        places=tuple(Place(columns[i].heading, columns[i].right, widths[i]) for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
        title=room.title,
    )


def _cell(value: str | Cell) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(clean(cell.text), cell.style, clean(cell.tail), cell.tail_style)


def _full_width(column: Column[R], cells: Iterable[Cell]) -> int:
    return max([cell_width(column.heading), *(cell_width(cell.spelled()) for cell in cells)])


def _fit(
    columns: Sequence[Column[R]], full: Sequence[int], kept: list[int], width: int
) -> list[int]:
    """Drop from ``kept`` what has no room and return every column's width."""
    widths = [min(w, c.minimum) if c.flexible else w for c, w in zip(columns, full, strict=True)]
    while _total(widths, kept) > width:
        droppable = [i for i in kept if columns[i].rank > 0]
        if not droppable:
            break
        kept.remove(max(droppable, key=lambda i: (columns[i].rank, i)))
    for i in kept:
        if columns[i].flexible:
            widths[i] = max(1, min(full[i], widths[i] + width - _total(widths, kept)))
    return widths


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[i] for i in kept) + GAP * max(0, len(kept) - 1)


def cell_width(text: str) -> int:
    """Return how many terminal cells printable ``text`` takes."""
    # Below the combining marks every printable character takes one, and rich need not be asked.
    if not text or max(text) < "\u0300":
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def to_lines(grid: Grid, colour: bool = False) -> list[str]:
    """Return title, headings and rows as lines without blanks at their ends."""
    lines = [_styled(grid.title, STRONG, colour)] if grid.title else []
    if grid.headed:
        heads = [Cell(place.heading, QUIET) for place in grid.places]
        lines.append(_line(grid.places, heads, colour))
    return lines + [_line(grid.places, row, colour) for row in grid.rows]


def _line(places: Sequence[Place], cells: Sequence[Cell], colour: bool) -> str:
    gap = " " * GAP
    parts = (_placed(place, cell, colour) for place, cell in zip(places, cells, strict=True))
    return gap.join(parts).rstrip()


def _placed(place: Place, cell: Cell, colour: bool) -> str:
    text = _shortened(cell.text, place.width)
    tail = f" {cell.tail}" if cell.tail else ""
    tail = _shortened(tail, place.width - cell_width(text))
    blanks = " " * (place.width - cell_width(text) - cell_width(tail))
    shown = _styled(text, cell.style, colour) + _styled(tail, cell.tail_style, colour)
    return blanks + shown if place.right else shown + blanks


def _shortened(text: str, width: int) -> str:
    if cell_width(text) <= width:
        return text
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def _styled(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if colour and style and text else text
