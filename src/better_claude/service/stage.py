"""Run a stage for as long as the service lives: step, pause, and after a failure a longer pause."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from better_claude.errors import BetterClaudeError
from better_claude.service.health import Health

_log = logging.getLogger("better_claude")


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of repeated work.

    ``period_s`` tells how long to pause after a step, ``wake`` ends a pause early. After a failure
    the pause is at least a fifth of a second and doubles up to ``longest_pause_s``.
    """

    name: str
    step: Callable[[], Awaitable[object]]
    period_s: Callable[[], float]
    longest_pause_s: float = 30.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


async def run_stage(stage: Stage, health: Health) -> None:
    """Repeat the stage's step until cancelled; an error is reported, and the step tried again."""
    failures = 0
    while True:
        try:
            await stage.step()
        except Exception as error:
            failures += 1
            _report(stage, health, error)
        else:
            failures = 0
            if health.works(stage.name):
                _log.info("%s: works again", stage.name)
        await _pause(stage, failures)


def describe(error: BaseException) -> str:
    """Return an error as one line for the log and for ``status``."""
    if isinstance(error, BetterClaudeError):
        return f"{'. '.join(filter(None, (error.message, error.remedy)))} [{error.slug}]"
    return f"{type(error).__name__}: {error}".splitlines()[0][:500]


def _report(stage: Stage, health: Health, error: Exception) -> None:
    # The same failure is written once, not at each attempt: a full disk lasts.
    if health.fails(stage.name, describe(error)):
        unforeseen = not isinstance(error, BetterClaudeError | OSError)
        _log.error("%s: %s", stage.name, describe(error), exc_info=unforeseen)


async def _pause(stage: Stage, failures: int) -> None:
    if failures:
        await asyncio.sleep(min(0.1 * 2 ** min(failures, 10), stage.longest_pause_s))
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stage.wake.wait(), stage.period_s())
    stage.wake.clear()
