"""Lay records out in columns that fit the reader: all on a pipe, the weightiest on a terminal.

A table is data until the last moment: columns name how to read a cell from a record, and what does
not fit is dropped by rank before the widest text is shortened.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from better_claude.show.text import clean

if TYPE_CHECKING:
    from rich.text import Text

R = TypeVar("R")

GAP = 2
QUIET = "dim"
WARN = "yellow"
WRONG = "red"
GOOD = "green"
STRONG = "bold"


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one place: text in a rich style, and a tail that is shortened first."""

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
    from rich.cells import cell_len

    return max([cell_len(column.heading), *(cell_len(cell.spelled()) for cell in cells)])


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


def to_text(grid: Grid) -> "Text":
    """Return ``grid`` as styled lines: title, headings, rows."""
    from rich.text import Text

    lines = [Text(grid.title, style=STRONG)] if grid.title else []
    if grid.headed:
        lines.append(_line(grid.places, [Cell(place.heading, QUIET) for place in grid.places]))
    lines.extend(_line(grid.places, row) for row in grid.rows)
    return Text("\n", no_wrap=True, overflow="ignore").join(lines)


def _line(places: Sequence[Place], cells: Sequence[Cell]) -> "Text":
    from rich.text import Text

    parts = []
    for place, cell in zip(places, cells, strict=True):
        # Spans, not a base style: the padding must stay plain, so that line ends can be stripped.
        part = Text().append(cell.text, cell.style)
        if cell.tail:
            part.append(f" {cell.tail}", cell.tail_style)
        part.truncate(place.width, overflow="ellipsis")
        part.align("right" if place.right else "left", place.width)
        parts.append(part)
    return Text(" " * GAP).join(parts)
