"""`better-claude status`: what is running now and how the last day went."""

import argparse
from collections.abc import Mapping

import msgspec

from better_claude.commands.limits import ContractLimits
from better_claude.commands.selection import (
    Reading,
    add_output_options,
    add_window_options,
    reading,
)
from better_claude.service.state import service_state
from better_claude.show.hooks import slowest_grid
from better_claude.show.running import running_grid
from better_claude.show.status import ServiceFigures, StatusView, next_step, status_grid
from better_claude.store.reader import open_reader


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the window, the form and examples."""
    parser.description = "Whether the service is up, what runs now and how the last day went."
    parser.epilog = """examples:
  better-claude status
  better-claude status --since 1h --json"""
    add_window_options(parser, until=False)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the first screen or its one record."""
    what = reading(args)
    limits = ContractLimits(what.paths, what.sample)
    view = look(what, limits)
    if what.json:
        what.print_json([status_record(view)])
    else:
        print_status(what, view, limits)
    return 0


def look(what: Reading, limits: ContractLimits) -> StatusView:
    """Ask the store and the service how it stands."""
    with open_reader(what.paths.store) as store:
        summary = store.status(what.records.since_ns, what.now_ns)
    return StatusView(
        summary=summary,
        service=_service(what),
        mode=str(limits.contract.enforcement),
        contract_origin=limits.contract.origin,
        contract_error=limits.error,
        window=what.window,
        sample=what.sample,
    )


def _service(what: Reading) -> ServiceFigures:
    state = service_state(what.paths)
    return ServiceFigures(
        running=state.running,
        answering=state.answering,
        pid=state.pid,
        port=state.port,
        started_ns=state.started_ns,
        version=state.version,
        failing=tuple(stage.name for stage in state.failing),
    )


def status_record(view: StatusView) -> Mapping[str, object]:
    """Return the first screen as one record: the summary, the service, the contract."""
    return {
        **msgspec.to_builtins(view.summary),
        "service": msgspec.to_builtins(view.service),
        "mode": view.mode,
        "contract": view.contract_origin,
        "contract_error": view.contract_error,
    }


def print_status(what: Reading, view: StatusView, limits: ContractLimits) -> None:
    """Print the lines, what runs now, the slowest hooks, and the next step."""
    grids = [status_grid(view, what.room)]
    if view.summary.running:
        grids.append(running_grid(view.summary.running, limits, what.now_ns, what.room))
    if view.summary.slowest:
        grids.append(slowest_grid(view.summary.slowest, limits, what.now_ns, what.room))
    what.print_grids(*grids)
    what.say("")
    what.advise(next_step(view))
