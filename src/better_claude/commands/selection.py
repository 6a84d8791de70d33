"""What the reading verbs have in common: which records, from which state folder, for whom."""

import argparse
import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from better_claude.errors import UsageError
from better_claude.model import Mode, Outcome, Source
from better_claude.paths import Paths
from better_claude.show.cells import OUTCOME_OF_WORD
from better_claude.show.jsonl import json_line
from better_claude.show.moment import parse_moment
from better_claude.show.screen import Screen
from better_claude.show.table import Grid, Room, to_lines
from better_claude.store.views import RunFilter

SAMPLE_TITLE = "SAMPLE DATA"
_DEFAULT_WINDOW = "24h"


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what every reading verb takes: the state folder, the sample, the form of the output."""
    where = parser.add_argument_group("where from")
    where.add_argument("--state", metavar="DIR", type=Path, help="another state folder")
    where.add_argument("--sample", action="store_true", help="the sample session's records")
    form = parser.add_argument_group("output")
    form.add_argument("--json", action="store_true", help="JSON Lines, one object a record")
    form.add_argument("--quiet", action="store_true", help="only data: no footers and hints")


def add_window_options(parser: argparse.ArgumentParser, until: bool = True) -> None:
    """Add ``--since`` and, where the past can be left out too, ``--until``."""
    window = parser.add_argument_group("which records")
    window.add_argument(
        "--since",
        metavar="TIME",
        default="",
        help=f"1h, 7d, today, 2026-11-01, all (default: {_DEFAULT_WINDOW}; of the sample: all)",
    )
    if until:
        window.add_argument("--until", metavar="TIME", default="", help="the same; default: now")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the filters over runs."""
    which = parser.add_argument_group("filters")
    which.add_argument(
        "--hook", metavar="HOOK", default="", help="a name, a key, or a pattern: '*guard*'"
    )
    which.add_argument("--event", metavar="EVENT", default="", help="an event such as PreToolUse")
    which.add_argument("--session", metavar="ID", default="", help="how its id begins")
    which.add_argument("--outcome", type=_outcome, metavar="OUTCOME", help=", ".join(Outcome))
    which.add_argument(
        "--source",
        type=Source,
        choices=(Source.LAUNCHER, Source.TRANSCRIPT),
        default=Source.LAUNCHER,
        metavar="SOURCE",
        help="launcher (measured by us, the default) or transcript (imported history)",
    )


def _outcome(text: str) -> Outcome:
    """Read an outcome as records name it, or as the tables do."""
    try:
        return OUTCOME_OF_WORD.get(text) or Outcome(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(Outcome)}") from None


def positive(text: str) -> int:
    """Read a whole number above zero, of at most nine digits, for argparse."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading command at work: which records, from where, and to whom."""

    paths: Paths
    now_ns: int
    window: str
    records: RunFilter
    screen: Screen
    sample: bool
    json: bool
    quiet: bool

    @property
    def title(self) -> str:
        """What stands above every table: nothing, or that this is no work of the user's."""
        return SAMPLE_TITLE if self.sample else ""

    @property
    def room(self) -> Room:
        """What a table may fill."""
        return Room(self.screen.width, self.title)

    def print_json(self, records: Iterable[object]) -> None:
        """Print one line for each record."""
        self.screen.write_lines(json_line(record, self.sample) for record in records)

    def print_grids(self, *grids: Grid) -> None:
        """Print tables with an empty line between them."""
        self.screen.write_lines(self.lines(*grids))

    def lines(self, *grids: Grid) -> list[str]:
        """Return what `print_grids` prints."""
        lines = [["", *to_lines(grid, self.screen.colour)] for grid in grids]
        return [line for each in lines for line in each][1:]

    def say(self, *lines: str) -> None:
        """Talk to a person, on standard error, unless asked to be quiet."""
        if not self.quiet:
            sys.stdout.flush()
            print(*lines, sep="\n", file=sys.stderr)

    def advise(self, *steps: tuple[str, str]) -> None:
        """Say what to do next: verbs with their options, and what they do."""
        commands = [f"{_program()} {words}" for words, _ in steps]
        width = max(map(len, commands))
        for command, (_, does), lead in zip(commands, steps, _leads(), strict=False):
            self.say(f"{lead} {command:<{width}}   {does}")


def reading(args: Namespace, mode: Mode | None = None) -> Reading:
    """Turn the parsed options into a `Reading`; raises UsageError for times that mean nothing."""
    now_ns = time.time_ns()
    # The sample was played once, maybe weeks ago.
    usual = "all" if args.sample else _DEFAULT_WINDOW
    since, until = getattr(args, "since", "") or usual, getattr(args, "until", "")
    since_ns = 0 if since == "all" else parse_moment(since, now_ns)
    until_ns = parse_moment(until, now_ns) if until else None
    if until_ns is not None and until_ns <= since_ns:
        raise UsageError(
            "empty-window",
            f"nothing can be between --since {since} and --until {until}",
            "--until must be later than --since; a duration counts back from now.",
        )
    return Reading(
        paths=state_paths(args.state, args.sample),
        now_ns=now_ns,
        window=_window_text(since, until),
        records=RunFilter(
            since_ns=since_ns,
            until_ns=until_ns,
            hook=getattr(args, "hook", ""),
            event=getattr(args, "event", ""),
            session=getattr(args, "session", ""),
            outcome=getattr(args, "outcome", None),
            mode=getattr(args, "mode", mode),
            source=getattr(args, "source", Source.LAUNCHER),
        ),
        screen=Screen.of(),
        sample=args.sample,
        json=args.json,
        quiet=args.quiet,
    )


def state_paths(state: Path | None, sample: bool) -> Paths:
    """Return the state folder that is meant: the environment's, another one, or its sample."""
    environ = dict(os.environ)
    if state is not None:
        environ["BETTER_CLAUDE_STATE"] = str(state.absolute())
    paths = Paths.from_environment(environ)
    if sample:
        environ["BETTER_CLAUDE_STATE"] = str(paths.sample_store)
        paths = Paths.from_environment(environ)
    return paths


def _leads() -> Iterator[str]:
    yield "next:"
    yield from repeat("     ")


def _program() -> str:
    """Return how to call us from here: after `make run` we are on nobody's PATH yet."""
    import shutil

    called = Path(sys.argv[0])
    if called.name != "better-claude" or shutil.which("better-claude"):
        return "better-claude"
    relative = os.path.relpath(called)
    return relative if not relative.startswith("..") else str(called)


def _window_text(since: str, until: str) -> str:
    if until:
        return f"{since} to {until}"
    if since == "all":
        return "all time"
    return f"last {since}" if since[:1].isdigit() and "-" not in since else f"since {since}"
