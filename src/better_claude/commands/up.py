"""`better-claude up`: start the service in the background."""

import argparse
import json
import os
import sys
from dataclasses import asdict

from better_claude import __version__
from better_claude.launcher import install_launcher
from better_claude.paths import Paths
from better_claude.service.start import start_service, stop_service
from better_claude.service.state import ServiceState, service_state


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add how to start and what to print."""
    parser.description = (
        "Start the service in the background and wait until it answers. Does nothing if it runs;"
        " started many times at once, it runs once. A service of another version is replaced. A"
        " session starts it by itself when it is down."
    )
    parser.epilog = """examples:
  better-claude up
  better-claude up --systemd    # as a user unit, started at each login"""
    parser.add_argument(
        "--systemd", action="store_true", help="write, enable and start a systemd user unit"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing if it runs")
    parser.add_argument("--json", action="store_true", help="print the service's state as JSON")


def run(args: argparse.Namespace) -> int:
    """Start it and say where it is."""
    paths = Paths.from_environment()
    state = _start_unit(paths) if args.systemd else bring_up(paths)
    if args.json:
        print(json.dumps(asdict(state)))
    elif not args.quiet:
        print(f"service up: pid {state.pid}, {_receiver(state)}, state in {paths.state}")
    for stage in state.failing:
        print(f"better-claude: {stage.name}: {stage.error}", file=sys.stderr)
    return 0


def bring_up(paths: Paths) -> ServiceState:
    """Start the service of this version, with the launcher that belongs to it.

    A service that an upgrade left behind would go on with the code of before, and a launcher that
    was deleted with the state folder makes every hook fail that a settings file sends to it.
    """
    before = service_state(paths)
    if before.running and before.version not in ("", __version__):
        stop_service(paths)
    state = start_service(paths)
    install_launcher(paths)
    return state


def _start_unit(paths: Paths) -> ServiceState:
    from better_claude.service.unit import enable_unit

    paths.create()
    stop_service(paths)
    enable_unit(paths, os.environ)
    return bring_up(paths)


def _receiver(state: ServiceState) -> str:
    return f"telemetry on 127.0.0.1:{state.port}" if state.port else "no telemetry"
