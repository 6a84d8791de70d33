"""The first screen: is the service up, what runs now, how did the last day go, what to do next."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from better_claude.model import Mode
from better_claude.show import cells
from better_claude.show.table import (
    GOOD,
    NO_EDGE,
    QUIET,
    WARN,
    WRONG,
    Cell,
    Column,
    Grid,
    Room,
    lay_out,
)
from better_claude.store.views import StatusSummary
from better_claude.units import format_duration

RUN_ONE_SESSION = "run -- claude", "measures one session, installs nothing"
_FAILED = ("timeout", "over_memory", "error", "lost")


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What is known of the service: 0 and empty where it does not run, or does not answer.

    ``failing`` names the stages that do not work now.
    """

    running: bool
    answering: bool = False
    pid: int = 0
    port: int = 0
    started_ns: int = 0
    version: str = ""
    failing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything that the first screen says."""

    summary: StatusSummary
    service: ServiceFigures
    mode: str
    contract_origin: str
    window: str
    sample: bool = False
    contract_error: str = ""


def status_grid(view: StatusView, room: Room = NO_EDGE) -> Grid:
    """Lay out the lines above the tables, each with what it speaks of in front."""
    return _line_grid(_lines(view), room)


def broken_contract_grid(error: str, room: Room = NO_EDGE) -> Grid:
    """Lay out the line that stands above limits which are not the user's, and why."""
    return _line_grid([("contract", _broken(error))], room)


def _line_grid(lines: Iterable[tuple[str, Cell]], room: Room) -> Grid:
    columns: list[Column[tuple[str, Cell]]] = [
        Column("", lambda line: Cell(line[0], QUIET), right=False),
        Column("", lambda line: line[1], right=False, flexible=True, minimum=20),
    ]
    grid = lay_out(columns, lines, room)
    return Grid(grid.places, grid.rows, grid.title, headed=False)


def _lines(view: StatusView) -> Iterator[tuple[str, Cell]]:
    if not view.sample:
        yield "service", _service(view.service, view.summary.now_ns)
    yield "contract", _contract(view)
    yield view.window, verdict(view.summary)
    yield "sessions", _sessions(view.summary)
    yield "running", _running(view.summary)
    if view.summary.quarantine:
        yield "set aside", _set_aside(view.summary.quarantine)


def _contract(view: StatusView) -> Cell:
    if view.contract_error:
        return _broken(view.contract_error)
    return Cell(view.mode, tail=f"· {view.contract_origin}")


def _broken(error: str) -> Cell:
    return Cell("broken, built-in limits shown", WRONG, f"· {error}")


def _service(service: ServiceFigures, now_ns: int) -> Cell:
    if not service.running:
        return Cell("down", WARN, "· it starts with the next session, or: better-claude up")
    if not service.answering:
        return Cell("not answering", WRONG, f"· pid {service.pid} · see service.log")
    if service.failing:
        return Cell(f"failing: {', '.join(service.failing)}", WRONG, f"· pid {service.pid}")
    up = format_duration(max(now_ns - service.started_ns, 0))
    return Cell(f"up {up}", GOOD, f"· pid {service.pid} · port {service.port}")


def verdict(summary: StatusSummary) -> Cell:
    """Judge the window in one line: nothing recorded, all good, or what failed and how often."""
    if summary.runs == 0:
        return Cell("nothing measured yet", QUIET)
    failures = sum(summary.outcomes.get(outcome, 0) for outcome in _FAILED)
    runs = cells.plural(summary.runs, "run")
    if failures == 0:
        return Cell(f"{runs}, none failed", GOOD)
    return Cell(
        f"{failures:,} of {runs} failed", WRONG, f"· {cells.outcome_list(summary.outcomes)}"
    )


def _sessions(summary: StatusSummary) -> Cell:
    active = f"· {summary.sessions_active:,} active" if summary.sessions_active else ""
    return Cell(f"{summary.sessions:,}", tail=active)


def _running(summary: StatusSummary) -> Cell:
    counts = {mode: sum(run.mode is mode for run in summary.running) for mode in Mode}
    told = [cells.plural(number, mode.value) for mode, number in counts.items() if number]
    return Cell(", ".join(told) or "nothing")


def _set_aside(quarantine: Mapping[str, int]) -> Cell:
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in sorted(quarantine.items()))
    return Cell(cells.plural(sum(quarantine.values()), "record"), WARN, f"· {reasons}")


def next_step(view: StatusView) -> tuple[str, str]:
    """Return the verb and options that help most from here, and what they do."""
    summary = view.summary
    if view.contract_error:
        return "contract show", "tells what is wrong with the contract file"
    if view.sample or summary.runs == 0:
        return RUN_ONE_SESSION
    for outcome in _FAILED:
        if summary.outcomes.get(outcome):
            return f"runs --outcome {outcome}", "shows what failed"
    return "hooks", "shows where the time goes"
