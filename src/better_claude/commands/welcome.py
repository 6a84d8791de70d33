"""`better-claude welcome`: what `make run` ends with; start, look back, show the first screen."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self, TextIO

from better_claude.claude.transcripts import transcript_root
from better_claude.collect.transcripts import FoundTranscript, find_transcripts
from better_claude.commands.import_ import ImportReport, import_transcripts
from better_claude.commands.limits import ContractLimits
from better_claude.commands.sample_session import play_sample
from better_claude.commands.selection import (
    SAMPLE_TITLE,
    Reading,
    add_output_options,
    reading,
    state_paths,
)
from better_claude.commands.status import look, status_record
from better_claude.commands.up import bring_up
from better_claude.model import Mode, Source
from better_claude.paths import Paths
from better_claude.show.cells import plural
from better_claude.show.hooks import hook_grid, slowest_grid, sort_hooks
from better_claude.show.sessions import session_grid
from better_claude.show.status import next_step, status_grid
from better_claude.show.table import Grid, Room
from better_claude.store.reader import Reader, open_reader
from better_claude.store.views import RunFilter
from better_claude.store.writer import Writer

# A first start is no place to wait for years of history: the newest first, the rest on demand.
_HISTORY_BYTES = 1 << 30
_MOST_ROWS = 8
_TICK_S = 0.1


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the form and examples."""
    parser.description = (
        "Start the service, import the client's history and show the first screen. Where there is"
        " no history, a short sample session is played into a store of its own. Safe to repeat."
    )
    parser.epilog = """examples:
  better-claude welcome
  better-claude welcome --sample    plays the sample even where there is history"""
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Do all three and print the first screen, or its record."""
    paths = state_paths(args.state, sample=False)
    what = reading(argparse.Namespace(**{**vars(args), "sample": False}))
    bring_up(paths)
    _import(paths, what)
    with open_reader(paths.store) as store:
        is_empty = not (store.runs(RunFilter(), 1) or store.sessions(RunFilter(), 1))
    sample = state_paths(args.state, sample=True)
    if is_empty or args.sample:
        _play(sample, what)
    _show(what, sample if is_empty or args.sample else None)
    return 0


def _import(paths: Paths, what: Reading) -> None:
    found = sorted(find_transcripts([transcript_root()]), key=lambda each: -each.mtime_ns)
    chosen = _newest(found)
    with (
        _Ticker(sys.stderr, "reading history", what.quiet) as ticker,
        Writer.open(paths.store) as writer,
    ):
        done = 0

        def advance(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            ticker.show(done, sum(each.size_bytes for each in chosen))

        report = import_transcripts(chosen, writer, advance)
    what.say(*_history_lines(report, len(found) - len(chosen)))


def _newest(found: Sequence[FoundTranscript]) -> list[FoundTranscript]:
    """Return as many from the front as have `_HISTORY_BYTES` together, at least one."""
    chosen: list[FoundTranscript] = []
    size = 0
    for each in found:
        size += each.size_bytes
        if chosen and size > _HISTORY_BYTES:
            break
        chosen.append(each)
    return chosen


def _history_lines(report: ImportReport, left: int) -> list[str]:
    new = report.files - report.unchanged - report.unreadable
    lines = []
    if new:
        lines.append(
            f"history: {plural(new, 'transcript')}, {plural(report.runs, 'hook run')},"
            f" {plural(report.tool_calls, 'tool call')}, {plural(report.api_calls, 'API call')}"
        )
    if left:
        lines.append(f"{plural(left, 'older transcript')} left: better-claude import")
    return lines


def _play(sample: Paths, what: Reading) -> None:
    with _Ticker(sys.stderr, "playing a sample session", what.quiet) as ticker:
        began = time.monotonic()
        runs = play_sample(sample, ticker.show)
    if runs:
        seconds = time.monotonic() - began
        what.say(f"sample: {plural(runs, 'run')} through the launcher in {seconds:.1f} s")


def _show(before: Reading, sample: Paths | None) -> None:
    """Print the state, then the liveliest table there is, then the next step."""
    what = replace(before, now_ns=time.time_ns())
    limits = ContractLimits(what.paths)
    view = look(what, limits)
    if what.json:
        what.print_json([status_record(view)])
        return
    grids = [status_grid(view, what.room)]
    if sample is not None:
        grids.append(_sample_grid(what, sample))
    else:
        with open_reader(what.paths.store) as store:
            grids += _own_grids(what, store, limits)
    what.say("")
    what.print_grids(*grids)
    what.say("")
    if sample is not None:
        what.say("The table is of a sample session that was played here, not of your own work.")
    what.advise(next_step(view))


def _sample_grid(what: Reading, sample: Paths) -> Grid:
    with open_reader(sample.store) as store:
        hooks = sort_hooks(store.hook_summaries(RunFilter(mode=Mode.HOOK)), "p95")
    limits = ContractLimits(sample, built_in=True)
    return hook_grid(hooks, limits, what.now_ns, Room(what.screen.width, SAMPLE_TITLE))


def _own_grids(what: Reading, store: Reader, limits: ContractLimits) -> list[Grid]:
    """Return the user's own hooks, or else those of history, or else the newest sessions."""
    for source, title in ((Source.LAUNCHER, ""), (Source.TRANSCRIPT, "FROM HISTORY")):
        hooks = store.hook_summaries(RunFilter(mode=Mode.HOOK, source=source))
        if hooks:
            slowest = sort_hooks(hooks, "p95")[:_MOST_ROWS]
            return [slowest_grid(slowest, limits, what.now_ns, Room(what.screen.width, title))]
    sessions = store.sessions(RunFilter(), _MOST_ROWS)
    return [session_grid(sessions, what.now_ns, what.room)] if sessions else []


class _Ticker:
    """One line that says how far something is, on a terminal only, gone at the end."""

    def __init__(self, stream: TextIO, what: str, quiet: bool) -> None:
        self._stream = stream
        self._what = what
        self._wanted = stream.isatty() and not quiet
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def show(self, done: int, of: int) -> None:
        """Tell how much of the whole is done."""
        now = time.monotonic()
        if self._wanted and now >= self._next:
            self._next = now + _TICK_S
            print(f"\r{self._what} {done / max(of, 1):4.0%}", end="", file=self._stream, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._next:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
