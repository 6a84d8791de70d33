"""What the world does to a command: text that would steer the terminal, a disk that is full."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.sandbox import Sandbox

from better_claude.commands import main


@pytest.fixture
def contract(sandbox: Sandbox) -> Path:
    path = sandbox.project / ".better-claude/contract.toml"
    path.parent.mkdir()
    return path


def test_a_pattern_of_a_projects_contract(
    sandbox: Sandbox, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract.write_text('[hook."\\u001b]0;owned\\u0007guard"]\ntimeout = "1s"\n')
    assert main(["contract", "show", "--project", str(sandbox.project)]) == 0
    out = capsys.readouterr().out
    assert 'hook."guard".timeout' in out
    assert "\x1b" not in out


def test_an_unknown_name_in_a_projects_contract(
    sandbox: Sandbox, contract: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract.write_text('"\\u001b]0;owned\\u0007limit" = "1s"\n')
    assert main(["contract", "show", "--project", str(sandbox.project)]) == 1
    error = capsys.readouterr().err
    assert "limit is not a setting" in error
    assert "\nKnown: context, hook_timeouts, memory, " in error
    assert "[unknown-key]" in error
    assert "\x1b" not in error


def test_a_project_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", "show", "--project", "/no/such"]) == 2
    assert "[no-such-folder]" in capsys.readouterr().err


def test_a_full_disk_is_no_traceback() -> None:
    words = [sys.executable, "-P", "-m", "better_claude", "contract", "show"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("[system-error]\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["runs", "--bogus"], ["--bogus", "runs"], ["runs", "extra"]])
def test_an_unknown_option_points_to_the_verbs_help(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.endswith("See: better-claude runs --help\n")
