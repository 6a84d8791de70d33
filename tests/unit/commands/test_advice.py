"""Hints name a command that can be typed from where the reader is."""

import io
from pathlib import Path

import pytest

from better_claude.commands.selection import Reading, state_paths
from better_claude.show.screen import Screen
from better_claude.store.views import RunFilter


def advise(quiet: bool = False) -> None:
    Reading(
        paths=state_paths(Path("/nowhere"), sample=False),
        now_ns=0,
        window="",
        records=RunFilter(),
        screen=Screen(io.StringIO(), None, colour=False),
        sample=False,
        json=False,
        quiet=quiet,
    ).advise(("hooks", "one"), ("run -- claude", "two"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a program of our name in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "better-claude").write_text("#!/bin/sh\n")
    (tmp_path / "better-claude").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("called", "folder_on_path", "program"),
    [
        (".venv/bin/better-claude", "nowhere", ".venv/bin/better-claude"),
        (".venv/bin/better-claude", ".", "better-claude"),
        ("/usr/lib/python3/better_claude/__main__.py", "nowhere", "better-claude"),
        ("/opt/x/bin/better-claude", "nowhere", "/opt/x/bin/better-claude"),
    ],
)
def test_the_command_is_named_as_it_can_be_called(
    called: str, folder_on_path: str, program: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [called])
        patch.setenv("PATH", str(here / folder_on_path))
        advise()
    assert capsys.readouterr().err.splitlines() == [
        f"next: {program} hooks           one",
        f"      {program} run -- claude   two",
    ]


def test_quiet_gives_no_advice(capsys: pytest.CaptureFixture[str]) -> None:
    advise(quiet=True)
    assert capsys.readouterr().err == ""


def test_the_sample_is_a_state_folder_inside_the_other(tmp_path: Path) -> None:
    assert state_paths(tmp_path, sample=True).store == tmp_path / "sample/store.db"
    assert state_paths(None, sample=True).state.parent == state_paths(None, sample=False).state
