"""`better-claude serve`: run the service in the foreground."""

import argparse

from better_claude.errors import ServiceError
from better_claude.paths import Paths


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add where the log goes."""
    parser.description = (
        "Run the service in the foreground, with its log on standard error, until ^C or SIGTERM."
        " For supervisors and for looking at a service that does not come up."
    )
    parser.epilog = """example:
  better-claude serve"""
    # For `up`: the log goes to the file, and a service that runs already is no failure.
    parser.add_argument("--background", action="store_true", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Run until told to stop."""
    import asyncio

    from better_claude.service.app import serve
    from better_claude.service.log import log_to_file, log_to_stderr

    paths = Paths.from_environment()
    try:
        paths.create()
        if args.background:
            log_to_file(paths.service_log)
        else:
            log_to_stderr()
        served = asyncio.run(serve(paths))
    except OSError as error:
        raise ServiceError(
            "state-folder",
            f"the state folder {paths.state} cannot be used: {error.strerror or error}",
            "Give it to yourself, make room, or name another one in BETTER_CLAUDE_STATE.",
        ) from error
    if not served and not args.background:
        raise ServiceError(
            "service-running",
            f"a service runs already for {paths.state}",
            "Look at it with: better-claude status. Stop it with: better-claude down",
        )
    return 0
