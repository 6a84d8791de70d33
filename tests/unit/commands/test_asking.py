"""The one question that is asked before something is written."""

import io

import pytest

from better_claude.commands.asking import agrees


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("", False)],
)
def test_only_yes_is_yes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    agreed: bool,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert agrees("Write this?") is agreed
    assert capsys.readouterr() == ("", "Write this? [y/N] ")
