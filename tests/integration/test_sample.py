"""The sample session: played through the real launcher, labelled, kept apart, played once."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox import Sandbox, open_sandbox

from better_claude.commands.sample_session import SESSION, is_played, play_sample
from better_claude.model import Mode, Outcome
from better_claude.paths import Paths
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, StoredRun

LONGEST_S = 5.0


def sample_of(box: Sandbox) -> Paths:
    return Paths.from_environment(box.environ({"BETTER_CLAUDE_STATE": str(box.state / "sample")}))


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Sandbox, int, float]]:
    """Play the sample once and say how many runs it recorded and how long that took."""
    with open_sandbox() as box:
        began = time.monotonic()
        runs = play_sample(sample_of(box))
        yield box, runs, time.monotonic() - began


@pytest.fixture
def runs(played: tuple[Sandbox, int, float]) -> list[StoredRun]:
    with open_reader(sample_of(played[0]).store) as store:
        return store.runs(RunFilter(), 1000)


def outcomes(runs: list[StoredRun], name: str) -> list[Outcome]:
    return sorted(run.outcome for run in runs if run.name == name)


def test_it_is_short_and_whole(played: tuple[Sandbox, int, float], runs: list[StoredRun]) -> None:
    _, number, seconds = played
    assert number == len(runs) > 50
    assert seconds < LONGEST_S
    assert {run.session for run in runs} == {SESSION}


def test_its_figures_are_measured(runs: list[StoredRun]) -> None:
    assert all(run.wall_ns > 0 and run.overhead_ns > 0 for run in runs)
    [stopped] = [run for run in runs if run.outcome is Outcome.TIMEOUT]
    assert stopped.wall_ns >= stopped.timeout_ms * 1_000_000 == 500_000_000
    [leak] = [run for run in runs if run.outcome is Outcome.OVER_MEMORY]
    assert leak.anon_peak_bytes > leak.memory_limit_bytes == 50 << 20


def test_every_kind_of_end_is_there(runs: list[StoredRun]) -> None:
    assert outcomes(runs, "index.sh") == [Outcome.OK, Outcome.OK, Outcome.TIMEOUT]
    assert outcomes(runs, "context.py").count(Outcome.OVER_MEMORY) == 1
    assert outcomes(runs, "guard.py").count(Outcome.BLOCKED) == 3
    assert {run.leftovers for run in runs if run.name == "notify.sh"} == {1}
    assert sum(run.mode is Mode.TOOL for run in runs) > 10


def test_it_stays_in_its_own_folder(played: tuple[Sandbox, int, float]) -> None:
    box, _, _ = played
    assert sorted(path.name for path in box.root.iterdir()) == ["home", "project", "state"]
    assert list(box.home.iterdir()) == list(box.project.iterdir()) == []
    assert sorted(path.name for path in box.state.iterdir()) == ["sample", "sample.lock"]
    assert not sample_of(box).spools[1].exists()
    assert box.state.stat().st_mode & 0o777 == sample_of(box).state.stat().st_mode & 0o777 == 0o700


def test_it_started_no_service(played: tuple[Sandbox, int, float]) -> None:
    assert not sample_of(played[0]).service_lock.exists()


def test_a_second_play_changes_nothing(played: tuple[Sandbox, int, float]) -> None:
    sample = sample_of(played[0])
    before = sample.store.stat()
    assert is_played(sample)
    assert play_sample(sample) == 0
    assert sample.store.stat().st_mtime_ns == before.st_mtime_ns


def test_an_interrupted_play_is_played_anew(sandbox: Sandbox) -> None:
    sample = sample_of(sandbox)
    sample.create()
    (sample.state / "half").write_text("made")
    assert play_sample(sample) > 50
    assert not (sample.state / "half").exists()


def test_two_players_play_once(sandbox: Sandbox) -> None:
    counts: list[int] = []
    players = [
        threading.Thread(target=lambda: counts.append(play_sample(sample_of(sandbox))))
        for _ in range(2)
    ]
    for player in players:
        player.start()
    for player in players:
        player.join()
    assert sorted(counts)[0] == 0
    assert sorted(counts)[1] > 50


def test_nothing_of_the_players_environment_is_passed_on(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "swordfish")
    play_sample(sample_of(sandbox))
    for path in sandbox.state.rglob("*"):
        assert not path.is_file() or b"swordfish" not in path.read_bytes()


def files_outside(box: Sandbox) -> set[Path]:
    return {path for path in box.root.rglob("*") if not path.is_relative_to(box.state)}


def welcome(box: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "better_claude", "welcome", *words],
        env=box.environ(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[Sandbox]:
    """Stop whatever service the test started."""
    yield sandbox
    subprocess.run(
        [sys.executable, "-P", "-m", "better_claude", "down"], env=sandbox.environ(), check=True
    )


def test_welcome_on_an_empty_machine(served: Sandbox) -> None:
    before = files_outside(served)
    first = welcome(served)
    assert first.returncode == 0, first.stderr
    assert "service   up" in first.stdout
    assert "SAMPLE DATA" in first.stdout
    assert "index.sh" in first.stdout
    assert "next: better-claude run -- claude" in first.stderr
    began = time.monotonic()
    second = welcome(served)
    assert second.returncode == 0, second.stderr
    assert "SAMPLE DATA" in second.stdout
    assert "sample:" in first.stderr
    assert "sample:" not in second.stderr
    assert time.monotonic() - began < 2.0
    assert files_outside(served) == before


def test_welcome_where_there_is_history(served: Sandbox) -> None:
    folder = served.home / ".claude/projects/-home-u-shop"
    folder.mkdir(parents=True)
    session = "11111111-2222-4333-8444-555555555555"
    hook = (
        '{"type":"attachment","attachment":{"type":"hook_success","hookName":"PreToolUse:Bash",'
        '"hookEvent":"PreToolUse","toolUseID":"toolu_1","command":"python3 old-guard.py",'
        '"exitCode":0,"durationMs":120,"stdout":"","stderr":"","content":""},'
        f'"uuid":"u1","timestamp":"2026-11-01T10:00:00.000Z","sessionId":"{session}",'
        '"cwd":"/home/u/shop","version":"2.1.330"}\n'
    )
    (folder / f"{session}.jsonl").write_text(hook)
    os.utime(folder / f"{session}.jsonl", (1, 1))
    before = files_outside(served)
    done = welcome(served)
    assert done.returncode == 0, done.stderr
    assert "history: 1 transcript, 1 hook run" in done.stderr
    assert "FROM HISTORY" in done.stdout
    assert "old-guard.py" in done.stdout
    assert "SAMPLE DATA" not in done.stdout
    assert not (served.state / "sample").exists()
    assert files_outside(served) == before
