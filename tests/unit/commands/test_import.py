"""`better-claude import`: what is stored, once, and what is said about it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import Sandbox
from tests.transcript_rows import (
    PROJECT,
    SECRET,
    SESSION,
    assistant,
    compact_boundary,
    hook_attachment,
    long_session,
    prompt,
    stop_summary,
    text,
    tool_result,
    tool_use,
    write,
)

from better_claude.commands import main
from better_claude.commands.import_ import _Bar
from better_claude.model import Source
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter

ROWS = [
    prompt(0),
    assistant(1, "msg_1", text(), tool_use("toolu_1"), output=40),
    hook_attachment(1.5, "hook_success", durationMs=700, exitCode=0) | {"version": "2.1.37"},
    tool_result(2, "toolu_1"),
    assistant(3, "msg_2", text(), output=2),
    stop_summary(4, {"command": "notify", "durationMs": 900}),
    compact_boundary(5),
]


@pytest.fixture
def home(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in sandbox.environ().items():
        monkeypatch.setenv(name, value)
    return sandbox.home


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(*arguments: str) -> dict[str, Any]:
        assert main(["import", "--json", *arguments]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    return run


def transcript(home: Path, name: str = SESSION) -> Path:
    return home / ".claude/projects/-home-someone-garden" / f"{name}.jsonl"


def test_the_clients_own_folder_and_then_nothing_new(
    home: Path, report: Callable[..., dict[str, Any]]
) -> None:
    path = write(transcript(home), *ROWS)
    first = report()
    elapsed_ns = first.pop("elapsed_ns")
    assert elapsed_ns > 0
    assert first == {
        "kind": "import",
        "files": 1,
        "unchanged": 0,
        "unreadable": 0,
        "sessions": 1,
        "runs": 2,
        "tool_calls": 1,
        "api_calls": 2,
        "compactions": 1,
        "lines": len(ROWS),
        "set_aside": {},
        "text_bytes": path.stat().st_size,
        "dry_run": False,
    }
    second = report()
    assert (second["unchanged"], second["runs"], second["api_calls"]) == (1, 0, 0)


def test_what_the_store_answers(
    home: Path, sandbox: Sandbox, report: Callable[..., dict[str, Any]]
) -> None:
    write(transcript(home), *ROWS)
    report()
    write(transcript(home), *ROWS, assistant(6, "msg_3", output=8))
    report()
    with open_reader(sandbox.paths.store) as store:
        (session,) = store.sessions(RunFilter())
        runs = store.runs(RunFilter(source=Source.TRANSCRIPT))
        hooks = store.hook_summaries(RunFilter(source=Source.TRANSCRIPT))
    assert (session.session, session.project) == (SESSION, PROJECT)
    assert session.client_version == "2.1.37"
    assert (session.api.calls, session.output_tokens, session.tools.calls) == (3, 50, 1)
    assert session.compactions == 1
    assert {run.command: run.wall_ns for run in runs} == {
        "guard.sh --fast": 700_000_000,
        "notify": 900_000_000,
    }
    assert {(hook.command, hook.event, hook.runs) for hook in hooks} == {
        ("guard.sh --fast", "PreToolUse", 1),
        ("notify", "Stop", 1),
    }


def test_a_dry_run_reads_everything_and_stores_nothing(
    home: Path, sandbox: Sandbox, report: Callable[..., dict[str, Any]]
) -> None:
    write(transcript(home), *ROWS)
    for _ in range(2):
        told = report("--dry-run")
        assert (told["dry_run"], told["runs"]) == (True, 2)
    assert not sandbox.paths.store.exists()


def test_paths_that_are_named(home: Path, report: Callable[..., dict[str, Any]]) -> None:
    one = write(home / "backup/one.jsonl", *ROWS)
    two = write(home / "backup/deep/down/two.jsonl", *ROWS)
    assert report(str(one))["files"] == 1
    told = report(str(two), str(home / "backup"))
    assert (told["files"], told["unchanged"]) == (2, 1)


def test_rows_of_one_call_in_two_batches_count_once(
    home: Path, report: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("better_claude.collect.transcripts.read_transcript.__defaults__", (None, 1))
    write(transcript(home), *long_session(30, 20))
    told = report()
    assert (told["api_calls"], told["tool_calls"]) == (30, 30)


def test_a_folder_and_a_file_that_cannot_be_read(
    home: Path,
    report: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(transcript(home, "a"), *ROWS)
    write(transcript(home, "b"), *ROWS)
    real = Path.open

    def refuse(self: Path, *arguments: Any, **options: Any) -> Any:
        if self.name == "a.jsonl":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    told = report()
    assert (told["files"], told["unreadable"], told["runs"]) == (2, 1, 2)


def test_what_a_person_reads(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import"]) == 0
    assert capsys.readouterr().out == f"No transcripts in {home}/.claude/projects.\n"
    path = write(transcript(home), *ROWS)
    with path.open("ab") as file:
        file.write(b"\x00\n")
    assert main(["import"]) == 0
    shown = capsys.readouterr()
    first, second, third = shown.out.splitlines()
    assert first == "Imported 2 hook runs, 1 tool call, 2 API calls, 1 compaction of 1 session."
    assert second.startswith("Read 1 transcript, 8 lines, 0.0 MB in ")
    assert third == "1 line set aside: 1 not_json."
    assert "better-claude hooks --source transcript" in shown.err
    assert main(["import", "--quiet"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "0 new.\n1 transcript unchanged since the last import.\n"
    assert shown.err == ""


def test_a_path_that_is_not_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(home / "nowhere")]) == 2
    assert "[no-such-transcript]" in capsys.readouterr().err


def test_no_content_reaches_the_disk(
    home: Path, sandbox: Sandbox, report: Callable[..., dict[str, Any]]
) -> None:
    write(transcript(home), *ROWS)
    report()
    kept = [path for path in sandbox.state.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestBar:
    @pytest.mark.parametrize(
        ("stream", "quiet", "seconds", "is_shown"),
        [
            (Terminal(), False, 2, True),
            (Terminal(), False, 0.5, False),
            (Terminal(), True, 2, False),
            (io.StringIO(), False, 2, False),
        ],
    )
    def test_on_a_terminal_for_what_takes_long(
        self, stream: io.StringIO, quiet: bool, seconds: float, is_shown: bool
    ) -> None:
        times = iter((0, round(seconds * 1e9), round(seconds * 1e9)))
        with _Bar(stream, 100, quiet, lambda: next(times)) as bar:
            bar.advance(40)
        assert ("importing" in stream.getvalue()) is is_shown
