"""A stage that fails is reported once, tried again, and told of when it works again."""

import asyncio
import logging

import pytest

from better_claude.errors import ServiceError
from better_claude.service.health import Health
from better_claude.service.stage import Stage, describe, run_stage


class Work:
    """A step that fails as often as it is told, then works, and ends the test after that."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.steps = 0
        self.done = asyncio.Event()

    async def step(self) -> None:
        self.steps += 1
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make every pause short, and note how long it would have been."""
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr("better_claude.service.stage.asyncio.sleep", sleep)
    return pauses


async def run_until_done(stage: Stage, work: Work, health: Health) -> None:
    task = asyncio.create_task(run_stage(stage, health))
    await work.done.wait()
    await asyncio.wait({task}, timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_failures_are_reported_and_outlived(
    no_pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    health = Health()
    work = Work(ValueError("once"), ValueError("once"), OSError(28, "No space left on device"))
    stage = Stage("spool", work.step, lambda: 100.0)
    await run_until_done(stage, work, health)
    assert work.steps == 4
    assert no_pauses == [0.2, 0.4, 0.8]
    assert [record.getMessage() for record in caplog.records] == [
        "spool: ValueError: once",
        "spool: OSError: [Errno 28] No space left on device",
        "spool: works again",
    ]
    assert health.report()["stages"]["spool"]["restarts"] == 3
    assert health.report()["ok"] is True


async def test_pauses_have_a_longest(no_pauses: list[float]) -> None:
    work = Work(*(ValueError(str(n)) for n in range(15)))
    await run_until_done(Stage("x", work.step, lambda: 100.0, 5.0), work, Health())
    assert max(no_pauses) == 5.0
    assert len(no_pauses) == 15


async def test_waking_ends_a_pause() -> None:
    work = Work()
    stage = Stage("x", work.step, lambda: 1000.0)
    task = asyncio.create_task(run_stage(stage, Health()))
    await work.done.wait()
    work.done.clear()
    stage.wake.set()
    await asyncio.wait_for(work.done.wait(), 5)
    task.cancel()
    assert work.steps == 2


def test_health_tells_news_from_repetition() -> None:
    health = Health()
    assert not health.works("a")
    assert health.fails("a", "why")
    assert not health.fails("a", "why")
    assert health.fails("a", "another reason")
    assert health.report()["ok"] is False
    assert health.works("a")
    assert not health.works("a")
    health.count("seen")
    health.count("seen", 4)
    assert health.report()["counters"] == {"seen": 5}


def test_errors_are_described_in_one_line() -> None:
    assert describe(ServiceError("slug", "what", "do this")) == "what. do this [slug]"
    assert describe(ValueError("one\ntwo")) == "ValueError: one"
    assert len(describe(ValueError("x" * 9000))) == 500
