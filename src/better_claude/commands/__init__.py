"""The command line: one verb a module, imported only when it is called."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, Protocol

from better_claude import __version__
from better_claude.errors import BetterClaudeError
from better_claude.show.text import clean

# Verb, module, what it does: kept here so that `--help` imports none of them.
VERBS: tuple[tuple[str, str, str], ...] = (
    ("welcome", "welcome", "first steps: start the service, import history, show the state"),
    ("run", "run", "run one Claude Code process under the contract; nothing is installed"),
    ("install", "install", "put every session of a settings file under the contract"),
    ("uninstall", "uninstall", "restore what install changed"),
    ("doctor", "doctor", "list every hook the client would run and what is wrong with it"),
    ("status", "status", "what is running now and how the last day went"),
    ("hooks", "hooks", "each hook's runs, latency, failures, memory and bytes"),
    ("runs", "runs", "single runs, newest first"),
    ("sessions", "sessions", "each session's hooks, tools, API calls and resources"),
    ("top", "top", "running hooks and sessions, live"),
    ("import", "import_", "read the client's transcripts as history"),
    ("contract", "contract", "show the contract in force and where each value comes from"),
    ("up", "up", "start the service in the background"),
    ("down", "down", "stop the service"),
    ("serve", "serve", "run the service in the foreground"),
)


class Verb(Protocol):
    """What a module under ``commands`` offers."""

    def prepare_parser(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own arguments, description and examples."""

    def run(self, args: argparse.Namespace) -> int:
        """Carry it out and return the exit status."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"better-claude: {message}\nSee: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status: 0, 1 for findings and failures, 2 for usage.

    The only place where an error becomes an exit status and where a closed pipe or ^C is met.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path need not be UTF-8, nor the terminal: never the reason that a command fails.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _dispatch(arguments)
    except BetterClaudeError as error:
        return _tell(error)
    except BrokenPipeError:
        # The reader went away (`| head`): not an error, but Python would complain at exit.
        _print_no_more()
        return 141
    except OSError as error:
        # What no verb foresaw: a full disk below standard output, a folder that went away.
        _print_no_more()
        return _tell(BetterClaudeError("system-error", str(error)))
    except KeyboardInterrupt:
        return 130


def _tell(error: BetterClaudeError) -> int:
    # A message may quote a repository's file: nothing in it may steer the terminal.
    lines = "\n".join(filter(None, (error.message, error.remedy))).split("\n")
    told = "\n".join(clean(line) for line in lines)
    print(f"better-claude: {told}  [{error.slug}]", file=sys.stderr)
    return error.exit_code


def _print_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(arguments: list[str]) -> int:
    args = parse_arguments(arguments)
    chosen: Verb = args.verb_module
    return chosen.run(args)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line with its verb's module; SystemExit where it makes no sense."""
    verb = next((word for word in arguments if not word.startswith("-")), "")
    parser = _Parser(
        prog="better-claude",
        description="Measure and limit every process that Claude Code starts.",
        epilog="example: better-claude run -- claude",
    )
    parser.add_argument("--version", action="version", version=f"better-claude {__version__}")
    chosen: argparse.ArgumentParser = parser
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module_name, summary in VERBS:
        child = verbs.add_parser(
            name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == verb:
            module: Verb = importlib.import_module(f"better_claude.commands.{module_name}")
            child.set_defaults(verb_module=module)
            module.prepare_parser(child)
            chosen = child
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        # Said by the verb, whose own help lists what it takes.
        chosen.error(f"unrecognized arguments: {' '.join(unknown)}")
    return args
