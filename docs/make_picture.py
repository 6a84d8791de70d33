"""Make docs/hooks.svg: `better-claude hooks --sample` as it is, from a sample session played now.

    python docs/make_picture.py

Every figure in the picture was measured while it was made. Drawn cell by cell, so that columns stay
in line whatever font the reader has; nothing is loaded from anywhere.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from better_claude.commands.limits import ContractLimits
from better_claude.commands.sample_session import play_sample
from better_claude.commands.selection import SAMPLE_TITLE
from better_claude.model import Mode
from better_claude.paths import Paths
from better_claude.show.hooks import hook_grid, sort_hooks
from better_claude.show.table import GAP, GOOD, QUIET, STRONG, WARN, WRONG, Cell, Grid, Room
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter

PICTURE = Path(__file__).with_name("hooks.svg")
COMMAND = "$ better-claude hooks --sample"
COLUMNS = 106
CELL, LINE, EDGE = 8.0, 20.0, 18.0
FONTS = "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace"
PLAIN = 'fill="#d4d4d8"'
STYLES = {
    "": PLAIN,
    QUIET: 'fill="#8b8b96"',
    WARN: 'fill="#e5b567"',
    WRONG: 'fill="#f2777a" font-weight="600"',
    GOOD: 'fill="#99c794"',
    STRONG: f'{PLAIN} font-weight="600"',
}


def main() -> None:
    """Play the sample in a temporary folder and draw its hooks."""
    with tempfile.TemporaryDirectory() as folder:
        sample = Paths.from_environment({"BETTER_CLAUDE_STATE": f"{folder}/sample", "HOME": folder})
        play_sample(sample)
        with open_reader(sample.store) as store:
            hooks = sort_hooks(store.hook_summaries(RunFilter(mode=Mode.HOOK)), "p95")
        limits = ContractLimits(sample, built_in=True)
        grid = hook_grid(hooks, limits, time.time_ns(), Room(COLUMNS, SAMPLE_TITLE))
    PICTURE.write_text(draw(grid), "utf-8")


def draw(grid: Grid) -> str:
    """Return ``grid`` below its command as an SVG."""
    heads = tuple(Cell(place.heading, QUIET) for place in grid.places)
    lines = [text(0, 0, COMMAND, STYLES[QUIET]), text(0, 1, grid.title, STYLES[STRONG])]
    for row, cells in enumerate((heads, *grid.rows), 2):
        lines += row_texts(grid, row, cells)
    columns = sum(place.width for place in grid.places) + GAP * (len(grid.places) - 1)
    width, height = columns * CELL + 2 * EDGE, (len(grid.rows) + 3) * LINE + 2 * EDGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
        f' font-family="{FONTS}" font-size="13">\n'
        "<title>better-claude hooks, sample data</title>\n"
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="8" fill="#1c1c22"/>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def row_texts(grid: Grid, row: int, cells: tuple[Cell, ...]) -> Iterator[str]:
    """Yield a text for each cell, at its column's left or right edge."""
    column = 0
    for place, cell in zip(grid.places, cells, strict=True):
        if cell.text:
            at = column + place.width if place.right else column
            anchor = ' text-anchor="end"' if place.right else ""
            yield text(at, row, cell.spelled(), STYLES[cell.style] + anchor)
        column += place.width + GAP


def text(column: int, row: int, words: str, attributes: str) -> str:
    """Return one text, ``column`` cells from the left on line ``row``."""
    x, y = EDGE + column * CELL, EDGE + (row + 0.7) * LINE
    return f'<text x="{x:.0f}" y="{y:.0f}" {attributes}>{escape(words)}</text>'


if __name__ == "__main__":
    main()
