"""Merging: built-in, then user, then project; a project only tightens."""

import os
import re
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from better_claude.contract import load_contract
from better_claude.errors import ContractError
from better_claude.model import Enforcement

USER_KEY = "0123456789abcdef"


def write_user(folder: Path, text: str) -> Path:
    path = folder / "contract.toml"
    path.write_text(text)
    return path


def write_project(folder: Path, text: str) -> Path:
    path = folder / "project/.better-claude/contract.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder / "project"


def test_the_built_in_numbers_are_those_of_the_source_document() -> None:
    contract = load_contract()
    limits = {event: contract.event_limits(event).timeout_ms for event in contract.event_names()}
    assert limits == {
        "PreToolUse": 2000,
        "PostToolUse": 5000,
        "UserPromptSubmit": 10000,
        "Notification": 1000,
        "Stop": 500,
        "SubagentStop": 500,
    }
    assert contract.event_limits("Stop").memory_bytes == 50 * 1024**2
    assert contract.enforcement is Enforcement.ENFORCE


def test_an_event_without_a_line_gets_the_default() -> None:
    assert load_contract().event_limits("NeverHeardOf").timeout_ms == 60_000


def test_the_user_may_loosen_and_the_origin_is_kept(tmp_path: Path) -> None:
    path = write_user(tmp_path, '[hook_timeouts]\nStop = "3s"\n')
    contract = load_contract(path)
    assert contract.event_limits("Stop").timeout_ms == 3000
    assert contract.values["hook_timeouts.Stop"].origin == str(path)
    assert contract.values["hook_timeouts.Stop"].text == "3s"
    assert contract.values["hook_timeouts.PreToolUse"].origin == "built-in"


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    assert load_contract(tmp_path / "none.toml", tmp_path / "no-project") == load_contract()


@pytest.mark.parametrize(
    ("text", "slug", "hint"),
    [
        ('[hook_timeout]\nStop = "1s"', "unknown-key", "Did you mean"),
        ('[memory]\nhok = "1MB"', "unknown-key", "memory.hook"),
        ('[memory]\nhook = "1parsec"', "bad-value", "in that file"),
        ("[memory]\nhook = 50", "bad-value", "in that file"),
        ('[hook_timeouts]\nStop = "0ms"', "bad-value", "in that file"),
        ('mode = "sometimes"', "bad-value", "in that file"),
        ("[context]\nmaximum = true", "bad-value", "in that file"),
        ('[service]\nautostart = "yes"', "bad-value", "in that file"),
        ('[hook."x"]\ntimout = "1s"', "unknown-key", "Did you mean timeout"),
        ('[hook."x"]\ntimeout = 5', "bad-value", ""),
        ("hook = 5", "bad-value", ""),
        ("[", "contract-unreadable", "Mend the file"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, text: str, slug: str, hint: str
) -> None:
    path = write_user(tmp_path, text)
    with pytest.raises(ContractError, match=re.escape(str(path))) as caught:
        load_contract(path)
    assert caught.value.slug == slug
    assert hint in caught.value.remedy


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "contract.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractError, match="cannot be read"):
        load_contract(path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        load_contract(tmp_path)


@given(ms=st.integers(min_value=1, max_value=10**6))
def test_a_project_only_tightens(tmp_path_factory: pytest.TempPathFactory, ms: int) -> None:
    folder = tmp_path_factory.mktemp("contract")
    project = write_project(
        folder,
        f'[hook_timeouts]\nPreToolUse = "{ms}ms"\nBrandNew = "{ms}ms"\n'
        f'[hook."x.sh"]\ntimeout = "{ms}ms"\nmemory = "{ms}MB"\n',
    )
    contract = load_contract(None, project)
    assert contract.event_limits("PreToolUse").timeout_ms == min(ms, 2000)
    assert contract.event_limits("BrandNew").timeout_ms == min(ms, 60_000)
    limits = contract.hook_limits("Stop", USER_KEY, "x.sh", "sh x.sh")
    assert limits.timeout_ms == min(ms, 500)
    assert limits.memory_bytes == min(ms, 50) * 1024**2


def test_a_project_cannot_switch_a_limit_off_or_touch_the_service(tmp_path: Path) -> None:
    project = write_project(tmp_path, 'mode = "observe"\n[hook."x.sh"]\nmode = "observe"\n')
    contract = load_contract(None, project)
    assert contract.enforcement is Enforcement.ENFORCE
    limits = contract.hook_limits("Stop", USER_KEY, "x.sh", "x.sh")
    assert limits.enforcement is Enforcement.ENFORCE
    with pytest.raises(ContractError, match=r"a project cannot set service\.autostart"):
        load_contract(None, write_project(tmp_path, "[service]\nautostart = false\n"))


def test_a_project_may_enforce_what_the_user_only_observes(tmp_path: Path) -> None:
    user = write_user(tmp_path, 'mode = "observe"\n')
    project = write_project(tmp_path, 'mode = "enforce"\n')
    assert load_contract(user).enforcement is Enforcement.OBSERVE
    assert load_contract(user, project).enforcement is Enforcement.ENFORCE


@pytest.mark.parametrize("pattern", [USER_KEY, "guard.py", "*guard*"])
def test_a_hook_is_named_by_key_name_or_pattern(tmp_path: Path, pattern: str) -> None:
    user = write_user(tmp_path, f'[hook."{pattern}"]\ntimeout = "9s"\nmode = "observe"\n')
    contract = load_contract(user)
    limits = contract.hook_limits("Stop", USER_KEY, "guard.py", "python3 /x/guard.py")
    assert (limits.timeout_ms, limits.enforcement) == (9000, Enforcement.OBSERVE)
    other = contract.hook_limits("Stop", "f" * 16, "other.py", "python3 /x/other.py")
    assert other == contract.event_limits("Stop")


def test_every_section_is_explained_where_it_stands() -> None:
    text = resources.files("better_claude.contract").joinpath("defaults.toml").read_text("utf-8")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("["):
            assert "#" in (lines[number - 1] + lines[number + 1]), f"{line} has no comment"


def test_a_limit_below_a_millisecond_is_one(tmp_path: Path) -> None:
    """The launcher counts milliseconds, and 0 of them would be no limit."""
    file = tmp_path / "contract.toml"
    file.write_text('[hook_timeouts]\nStop = "10us"\n[hook.x]\ntimeout = "10us"\n')
    contract = load_contract(user=file)
    assert contract.event_limits("Stop").timeout_ms == 1
    assert contract.hook_limits("PreToolUse", "", "x", "x").timeout_ms == 1


def test_a_pipe_in_the_place_of_the_file_is_refused_at_once(tmp_path: Path) -> None:
    """A repository could hold one, and whoever reads it would wait forever."""
    folder = tmp_path / ".better-claude"
    folder.mkdir()
    os.mkfifo(folder / "contract.toml")
    with pytest.raises(ContractError, match="not a regular file"):
        load_contract(project=tmp_path)
