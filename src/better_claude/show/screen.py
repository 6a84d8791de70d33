"""Where views are printed: a terminal of some width, or a pipe that must lose nothing."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

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
        colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(stream, max(_columns(stream), _LEAST_WIDTH), colour)

    def write_lines(self, lines: Iterable[str]) -> None:
        """Print plain lines; what the stream's encoding lacks becomes a question mark."""
        encoding = self.stream.encoding or "utf-8"
        for line in lines:
            self.stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
        # Here, not at interpreter exit: a reader that went away is an error that main() knows.
        self.stream.flush()


def _columns(stream: TextIO) -> int:
    """Return what the user says, or else the terminal, or else 80."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
