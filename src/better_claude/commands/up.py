"""`better-claude up`: start the service in the background."""

import argparse
import json
import os
import sys
from dataclasses import asdict

from better_claude.paths import Paths
from better_claude.service.start import start_service, stop_service
from better_claude.service.state import ServiceState


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add how to start and what to print."""
    parser.description = (
        "Start the service in the background and wait until it answers. Does nothing if it runs;"
        " started many times at once, it runs once. A session starts it by itself when it is down."
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
    state = _start_unit(paths) if args.systemd else start_service(paths)
    if args.json:
        print(json.dumps(asdict(state)))
    elif not args.quiet:
        print(f"service up: pid {state.pid}, {_receiver(state)}, state in {paths.state}")
    for stage in state.failing:
        print(f"better-claude: {stage.name}: {stage.error}", file=sys.stderr)
    return 0


def _start_unit(paths: Paths) -> ServiceState:
    from better_claude.service.unit import enable_unit

    paths.create()
    stop_service(paths)
    enable_unit(paths, os.environ)
    return start_service(paths)


def _receiver(state: ServiceState) -> str:
    return f"telemetry on 127.0.0.1:{state.port}" if state.port else "no telemetry"
