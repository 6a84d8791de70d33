"""`better-claude sessions`: each session's hooks, tools, API calls and resources."""

import argparse

from better_claude.commands.nothing import explain_nothing
from better_claude.commands.selection import (
    add_output_options,
    add_window_options,
    positive,
    reading,
)
from better_claude.show.cells import plural
from better_claude.show.sessions import SORTS, session_grid, sort_sessions
from better_claude.store.reader import open_reader


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add filters, order and examples."""
    parser.description = "Sessions of Claude Code, newest first, each over its whole life."
    parser.epilog = """examples:
  better-claude sessions --since today
  better-claude sessions --session 3f2a --json
  better-claude sessions --since 30d --sort cost"""
    add_window_options(parser)
    which = parser.add_argument_group("filters")
    which.add_argument("--session", metavar="ID", default="", help="how its id begins")
    parser.add_argument(
        "--sort",
        choices=list(SORTS),
        default="time",
        help="order of the newest --limit sessions; default: %(default)s",
    )
    parser.add_argument(
        "--limit", type=positive, default=20, metavar="N", help="default: %(default)s"
    )
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table or the records."""
    what = reading(args)
    with open_reader(what.paths.store) as store:
        found = sort_sessions(store.sessions(what.records, args.limit), args.sort)
    if what.json:
        what.print_json(found)
    elif not found:
        explain_nothing(what)
    else:
        what.print_grids(session_grid(found, what.now_ns, what.room))
        what.say("", f"{plural(len(found), 'session')} · {what.window}")
    return 0
