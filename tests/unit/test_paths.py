"""Where everything of ours lives, whatever the environment says."""

from pathlib import Path

import pytest

from better_claude.paths import Paths


def paths(**environ: str) -> Paths:
    return Paths.from_environment(environ)


def test_our_own_variable_comes_first_then_xdg_then_home() -> None:
    assert paths(HOME="/h").state == Path("/h/.local/state/better-claude")
    assert paths(HOME="/h", XDG_STATE_HOME="/x").state == Path("/x/better-claude")
    assert paths(HOME="/h", XDG_STATE_HOME="/x", BETTER_CLAUDE_STATE="/s").state == Path("/s")
    assert paths(HOME="/h").contract == Path("/h/.config/better-claude/contract.toml")
    assert paths(HOME="/h", BETTER_CLAUDE_CONTRACT="/c").contract == Path("/c")


def test_a_relative_base_folder_is_ignored() -> None:
    """As the XDG base directory specification wants it."""
    found = paths(HOME="/h", XDG_STATE_HOME="x", XDG_CONFIG_HOME="x")
    assert found == paths(HOME="/h")


@pytest.mark.parametrize("name", ["HOME", "BETTER_CLAUDE_STATE"])
def test_the_launcher_is_named_for_sessions_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths(**{"HOME": "/h", name: "here"}).launcher.is_relative_to(tmp_path / "here")
