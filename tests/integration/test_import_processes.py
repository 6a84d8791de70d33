"""Imports as processes: beside another writer, beside each other, and killed at any moment."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import Sandbox
from tests.transcript_rows import encode, long_session

from better_claude.model import ClientEvent, Source
from better_claude.store.writer import Writer

SESSIONS, TURNS = 6, 400
# What an import stores, with every reference spelled out, so that two stores can be compared.
CONTENTS = (
    "SELECT sessions.session, ident, time_ns, duration_ms, outcome FROM history_runs"
    " JOIN sessions ON sessions.id = history_runs.session",
    "SELECT sessions.session, ident, time_ns, duration_ms, ok FROM tool_calls"
    " JOIN sessions ON sessions.id = tool_calls.session",
    "SELECT sessions.session, ident, time_ns, output_tokens FROM api_calls"
    " JOIN sessions ON sessions.id = api_calls.session",
    "SELECT sessions.session, ident, pre_tokens FROM compactions"
    " JOIN sessions ON sessions.id = compactions.session",
    "SELECT session, project, client_version, first_ns, last_ns FROM sessions WHERE session != ''",
)


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects")
    for number in range(SESSIONS):
        session = f"5f0f3c1e-0000-4000-8000-{number:012d}"
        (folder / f"{session}.jsonl").write_bytes(encode(*long_session(TURNS, 200, session)))
    return folder


def start(sandbox: Sandbox, *paths: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "better_claude", "import", "--json", *map(str, paths)],
        env=sandbox.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def contents(store: Path) -> list[list[tuple[Any, ...]]]:
    connection = sqlite3.connect(store)
    try:
        return [sorted(connection.execute(query)) for query in CONTENTS]
    finally:
        connection.close()


@pytest.fixture(scope="module")
def expected(
    transcripts: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[list[tuple[Any, ...]]]:
    root = tmp_path_factory.mktemp("clean")
    sandbox = Sandbox(root)
    report = finish(start(sandbox, transcripts))
    assert report["api_calls"] == report["tool_calls"] == SESSIONS * TURNS
    return contents(sandbox.paths.store)


def test_killed_at_any_moment_it_loses_and_doubles_nothing(
    sandbox: Sandbox, transcripts: Path, expected: list[list[tuple[Any, ...]]]
) -> None:
    killed = 0
    for attempt in range(8):
        process = start(sandbox, transcripts)
        time.sleep(0.15 + attempt * 0.05)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    finish(start(sandbox, transcripts))
    assert contents(sandbox.paths.store) == expected
    assert finish(start(sandbox, transcripts))["unchanged"] == SESSIONS


def test_two_imports_and_another_writer_at_once(
    sandbox: Sandbox, transcripts: Path, expected: list[list[tuple[Any, ...]]]
) -> None:
    sandbox.paths.create()
    with Writer.open(sandbox.paths.store) as writer:
        processes = [start(sandbox, transcripts) for _ in range(2)]
        commits = 0
        while any(process.poll() is None for process in processes):
            event = ClientEvent(commits, "", "tick", Source.TELEMETRY, f"tick-{commits}")
            assert writer.commit([event]).others == 1
            commits += 1
    assert commits > 10
    for process in processes:
        finish(process)
    assert contents(sandbox.paths.store) == expected
