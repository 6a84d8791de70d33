"""`better-claude top`: running hooks and sessions, live."""

import argparse
import contextlib
import select
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NoReturn

from better_claude.commands.limits import ContractLimits
from better_claude.commands.selection import Reading, add_output_options, reading
from better_claude.model import Mode
from better_claude.show.cells import plural
from better_claude.show.moment import clock_time
from better_claude.show.running import running_grid
from better_claude.show.screen import Screen
from better_claude.show.status import RUN_ONE_SESSION, broken_contract_grid
from better_claude.show.table import Grid
from better_claude.show.top import RATE_WINDOW_NS, SessionLoad, load_grid, session_loads
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, RunningRun, SessionSummary
from better_claude.units import parse_duration

_LEAST_INTERVAL_NS = 100_000_000
_MOST_SESSIONS = 50
_LEAVING = ("q", "Q", "\x1b")


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the rhythm, the form and examples."""
    parser.description = "Running hooks, tools and servers, and each session's process tree, live."
    parser.epilog = """q or ^C leaves. examples:
  better-claude top --interval 500ms
  better-claude top --once --json"""
    parser.add_argument(
        "--interval", type=_interval, default="1s", metavar="TIME", help="default: %(default)s"
    )
    parser.add_argument("--once", action="store_true", help="one look, then leave (for scripts)")
    add_output_options(parser)


def _interval(text: str) -> int:
    try:
        return max(parse_duration(text), _LEAST_INTERVAL_NS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(args: argparse.Namespace) -> int:
    """Look once, or again and again until the user leaves."""
    what = reading(args)
    if what.json:
        look = _look(what)
        what.print_json([*look.running, *look.loads])
    elif args.once or what.screen.width is None:
        look = _look(what)
        what.print_grids(*_grids(what, look, ContractLimits(what.paths, what.sample)))
        if not look.running and not look.loads:
            what.say("Nothing is running.")
            what.advise(RUN_ONE_SESSION)
    else:
        _live(what, args.interval / 1e9)
    return 0


@dataclass(frozen=True, slots=True)
class Look:
    """What runs at one moment."""

    running: list[RunningRun]
    loads: list[SessionLoad]
    summaries: dict[str, SessionSummary]


def _look(what: Reading) -> Look:
    since_ns = what.now_ns - RATE_WINDOW_NS
    with open_reader(what.paths.store) as store:
        loads = session_loads(store.samples(since_ns))
        recent = store.sessions(RunFilter(since_ns=since_ns), _MOST_SESSIONS) if loads else []
        return Look(store.running(), loads, {summary.session: summary for summary in recent})


def _grids(what: Reading, look: Look, limits: ContractLimits) -> list[Grid]:
    grids = []
    if limits.error:
        grids.append(broken_contract_grid(limits.error, what.room))
    if look.running:
        grids.append(running_grid(look.running, limits, what.now_ns, what.room))
    if look.loads:
        grids.append(load_grid(look.loads, look.summaries, what.room))
    return grids


def _live(what: Reading, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    limits = ContractLimits(what.paths, what.sample)
    # No width: it follows the terminal's.
    console = Console(file=what.screen.stream, no_color=not what.screen.colour)
    with (
        _leaving_on_sigterm(),
        _single_keys(),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            now = replace(what, now_ns=time.time_ns(), screen=Screen.of(what.screen.stream))
            frame = Text.from_ansi("\n".join(_frame(now, limits)), no_wrap=True)
            live.update(frame, refresh=True)
            if _wants_to_leave(interval_s):
                return


def _frame(what: Reading, limits: ContractLimits) -> list[str]:
    look = _look(what)
    # Every table would carry the title; here the headline does for all of them.
    untitled = replace(what, sample=False)
    grids = _grids(untitled, look, limits)
    return [_headline(what, look), "", *what.lines(*grids)]


def _headline(what: Reading, look: Look) -> str:
    hooks = sum(run.mode is Mode.HOOK for run in look.running)
    sessions = len({load.session for load in look.loads})
    parts = [
        what.title or "better-claude",
        clock_time(what.now_ns, what.now_ns),
        f"{plural(hooks, 'hook')} running",
        plural(sessions, "session"),
        "q leaves",
    ]
    return " · ".join(parts)


@contextlib.contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Give the terminal back also when we are asked to end."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _single_keys() -> Iterator[None]:
    """Read keys without the return key, if there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _wants_to_leave(interval_s: float) -> bool:
    """Wait for the next look or a key; tell whether it was one that leaves."""
    if not sys.stdin.isatty():
        time.sleep(interval_s)
        return False
    ready, _, _ = select.select([sys.stdin], [], [], interval_s)
    return bool(ready) and sys.stdin.read(1) in ("", *_LEAVING)
