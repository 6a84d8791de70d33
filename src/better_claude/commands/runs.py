"""`better-claude runs`: single runs, newest first."""

import argparse

from better_claude.commands.nothing import explain_nothing
from better_claude.commands.selection import (
    add_output_options,
    add_run_options,
    add_window_options,
    positive,
    reading,
)
from better_claude.model import Mode
from better_claude.show.cells import plural
from better_claude.show.runs import SORTS, run_grid, sort_runs
from better_claude.store.reader import open_reader


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add filters, order and examples."""
    parser.description = "Single runs of hooks, tools and servers, newest first."
    parser.epilog = """examples:
  better-claude runs --limit 20
  better-claude runs --outcome timeout --since 7d
  better-claude runs --session 3f2a --mode hook --json"""
    add_window_options(parser)
    add_run_options(parser)
    parser.add_argument(
        "--mode", type=Mode, choices=list(Mode), metavar="MODE", help=", ".join(Mode)
    )
    parser.add_argument(
        "--sort",
        choices=list(SORTS),
        default="time",
        help="order of the newest --limit runs; default: %(default)s",
    )
    parser.add_argument(
        "--limit", type=positive, default=50, metavar="N", help="default: %(default)s"
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table or the records."""
    what = reading(args)
    with open_reader(what.paths.store) as store:
        found = sort_runs(store.runs(what.records, args.limit), args.sort)
    if what.json:
        what.print_json(found)
    elif not found:
        explain_nothing(what)
    else:
        what.print_grids(run_grid(found, what.now_ns, what.room))
        more = "  (there may be more: --limit)" if len(found) == args.limit else ""
        what.say("", f"{plural(len(found), 'run')} · {what.window}{more}")
    return 0
