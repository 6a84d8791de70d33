"""`better-claude hooks`: each hook's runs, latency, failures, memory, CPU and bytes."""

import argparse

from better_claude.commands.limits import ContractLimits
from better_claude.commands.nothing import explain_nothing
from better_claude.commands.selection import (
    add_output_options,
    add_run_options,
    add_window_options,
    positive,
    reading,
)
from better_claude.model import Mode
from better_claude.show.hooks import SORTS, hook_footer, hook_grid, sort_hooks
from better_claude.show.status import broken_contract_grid
from better_claude.store.reader import open_reader


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add filters, order and examples."""
    parser.description = "Each hook at each event: runs, latency, failures, memory, CPU and bytes."
    parser.epilog = """examples:
  better-claude hooks --since 1h
  better-claude hooks --hook guard.py --sort runs
  better-claude hooks --event PreToolUse --json
  better-claude hooks --source transcript --since 30d"""
    add_window_options(parser)
    add_run_options(parser)
    parser.add_argument("--sort", choices=list(SORTS), default="p95", help="default: %(default)s")
    parser.add_argument("--limit", type=positive, metavar="N", help="at most so many hooks")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table or the records."""
    what = reading(args, Mode.HOOK)
    with open_reader(what.paths.store) as store:
        hooks = sort_hooks(store.hook_summaries(what.records), args.sort)[: args.limit]
    if what.json:
        what.print_json(hooks)
    elif not hooks:
        explain_nothing(what)
    else:
        limits = ContractLimits(what.paths, what.sample)
        grids = [broken_contract_grid(limits.error, what.room)] if limits.error else []
        what.print_grids(*grids, hook_grid(hooks, limits, what.now_ns, what.room))
        what.say("", hook_footer(hooks, what.window))
    return 0
