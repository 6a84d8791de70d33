"""The client's command line."""

import json
from pathlib import Path

import pytest

from better_claude.claude.invocation import Invocation
from better_claude.claude.places import Scope

OURS = Path("/state/run/settings.json")


def call(*words: str) -> Invocation:
    return Invocation.of(words)


def test_no_words_mean_the_client() -> None:
    assert call() == Invocation("claude", ())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-p", "hi"], ["-p", "hi"]),
        (["--settings", "x.json", "-p"], ["-p"]),
        (["-p", "--settings={}", "hi"], ["-p", "hi"]),
        (["--settings", "a", "--settings", "b"], []),
        (["hi", "--", "--settings", "x"], ["hi", "--", "--settings", "x"]),
        (["--settings"], []),
    ],
)
def test_ours_replace_theirs(words: list[str], expected: list[str]) -> None:
    arguments = call("claude", *words).with_settings(OURS).arguments
    assert arguments == ("--settings", str(OURS), *expected)


@pytest.mark.parametrize(
    ("words", "takes"),
    [
        (["claude"], True),
        (["/opt/bin/claude", "-p", "mcp"], True),
        (["claude", "fix the bug"], True),
        (["claude", "mcp", "list"], False),
        (["claude", "update"], False),
        (["npx", "claude"], False),
        (["true"], False),
    ],
)
def test_only_sessions_of_the_client_take_settings(words: list[str], takes: bool) -> None:
    assert call(*words).takes_settings is takes


def test_their_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"model": "opus"}))
    assert call("claude", "--settings", "mine.json").own_settings(tmp_path) == {"model": "opus"}
    assert call("claude", '--settings={"a": 1}').own_settings(tmp_path) == {"a": 1}
    assert call("claude", "--settings", "x", "--settings", "{}").own_settings(tmp_path) == {}
    assert call("claude", "--", "--settings", "x").own_settings(tmp_path) == {}


@pytest.mark.parametrize("given", ["none.json", "{broken}", '{"a": 1, "a": 2}'])
def test_unreadable_settings_are_an_error(tmp_path: Path, given: str) -> None:
    with pytest.raises((OSError, ValueError)):
        call("claude", "--settings", given).own_settings(tmp_path)


def test_setting_sources() -> None:
    assert call("claude").sources == frozenset(Scope)
    assert call("claude", "--setting-sources", "user, local").sources == {Scope.USER, Scope.LOCAL}
    assert call("claude", "--setting-sources=").sources == frozenset()
    assert call("claude", "--restricted").sources == frozenset()


def test_print_mode() -> None:
    assert call("claude", "hi", "-p").is_print
    assert not call("claude", "--", "-p").is_print
