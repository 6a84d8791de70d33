"""Where views are printed: a terminal of some width, or a pipe that must lose nothing."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Wider than any table of ours; rich needs some number where there is no edge.
_NO_EDGE = 100_000
_LEAST_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Screen:
    """The reader's side: ``width`` in cells or None where nothing may be cut, and colour or not."""

    stream: TextIO
    width: int | None
    colour: bool

    @classmethod
    def of(cls, stream: TextIO | None = None) -> "Screen":
        """Look at ``stream`` (standard output), ``NO_COLOR``, ``TERM`` and ``COLUMNS``."""
        stream = sys.stdout if stream is None else stream
        if not stream.isatty():
            return cls(stream, None, colour=False)
        width = int(os.environ.get("COLUMNS") or 0) if _is_number("COLUMNS") else 0
        width = width or os.get_terminal_size(stream.fileno()).columns or 80
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(stream, max(width, _LEAST_WIDTH), colour)

    def write(self, renderables: Iterable["RenderableType"]) -> None:
        """Print ``renderables`` one below the other, without blanks at line ends."""
        text = self.render(renderables)
        self.write_lines(text.splitlines())

    def render(self, renderables: Iterable["RenderableType"]) -> str:
        """Return what `write` prints."""
        console = self.console()
        with console.capture() as capture:
            for renderable in renderables:
                console.print(renderable, crop=self.width is not None, soft_wrap=False)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def console(self, follow: bool = False) -> "Console":
        """Return a rich console of this shape, which takes text literally, never as markup.

        With ``follow`` it keeps asking the terminal for its size.
        """
        from rich.console import Console

        return Console(
            file=self.stream,
            width=None if follow else self.width or _NO_EDGE,
            force_terminal=self.colour or follow,
            no_color=not self.colour,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def write_lines(self, lines: Iterable[str]) -> None:
        """Print plain lines; what the stream's encoding lacks becomes a question mark."""
        encoding = self.stream.encoding or "utf-8"
        for line in lines:
            self.stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        # Here, not at interpreter exit: a reader that went away is an error that main() knows.
        self.stream.flush()


def _is_number(variable: str) -> bool:
    return os.environ.get(variable, "").isdecimal()
