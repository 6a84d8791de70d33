"""`better-claude down`: stop the service."""

import argparse
import os

from better_claude.contract import load_contract
from better_claude.errors import ContractError
from better_claude.paths import Paths
from better_claude.service.start import stop_service


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add what else to remove and whether to talk."""
    parser.description = (
        "Stop the service and wait until it is gone. Hooks go on under their limits, and what they"
        " record is stored at the next start."
    )
    parser.epilog = """examples:
  better-claude down
  better-claude down --systemd    # remove the user unit too"""
    parser.add_argument(
        "--systemd", action="store_true", help="disable and remove the systemd user unit as well"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing")


def run(args: argparse.Namespace) -> int:
    """Stop it; nothing to stop is no failure."""
    paths = Paths.from_environment()
    if args.systemd:
        from better_claude.service.unit import disable_unit

        disable_unit(os.environ)
    stopped = stop_service(paths)
    if not args.quiet:
        print("service stopped" if stopped else "the service was not running")
        if _starts_again(paths):
            print(
                "The next session starts it again; to prevent that, set in"
                f" {paths.contract}:\n  [service]\n  autostart = false"
            )
    return 0


def _starts_again(paths: Paths) -> bool:
    try:
        return load_contract(paths.contract).flag("service.autostart") and paths.starter.exists()
    except ContractError:
        return False
