"""What a repository wrote never steers the terminal, wherever we quote it."""

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
    assert "\nSee: better-claude contract show  [unknown-key]" in error
    assert "\x1b" not in error


def test_a_project_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", "show", "--project", "/no/such"]) == 2
    assert "[no-such-folder]" in capsys.readouterr().err
