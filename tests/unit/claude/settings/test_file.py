"""Settings files that must not be touched, and those that may."""

import os
from pathlib import Path

import pytest

from better_claude.claude.settings.file import (
    environment_of,
    look_at_settings,
    read_settings,
    write_settings,
)
from better_claude.errors import SettingsError


def refusal(path: Path, root: Path) -> str:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(SettingsError) as caught:
        read_settings(path, [root])
    assert caught.value.remedy
    assert (path.read_bytes() if path.is_file() else None) == before
    return caught.value.slug


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b'{"a": 1} // why', "settings-comments"),
        (b'/* mine */ {"a": 1}', "settings-comments"),
        (b'{"a": "//no comment", /* but here */ "b": 1}', "settings-comments"),
        (b'{"a": 1,}', "settings-broken"),
        (b"{'a': 1}", "settings-broken"),
        (b'{"a": NaN}', "settings-broken"),
        (b'{"a": 1} {}', "settings-broken"),
        (b'{"a": 1', "settings-broken"),
        (b'{"a": "\xff"}', "settings-broken"),
        (b'{"a": ' + b"[" * 100_000, "settings-broken"),
        (b'{"a": 1, "a": 2}', "settings-duplicate-key"),
        (b'{"env": {"A": "1", "A": "2"}}', "settings-duplicate-key"),
        (b"[]", "settings-not-an-object"),
        (b"null", "settings-not-an-object"),
        (b'{"env": "A=1"}', "settings-env"),
        (b'{"env": null}', "settings-env"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', "settings-too-large"),
    ],
)
def test_what_cannot_be_changed_safely_is_refused(
    tmp_path: Path, content: bytes, slug: str
) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    assert refusal(path, tmp_path) == slug


def test_what_is_no_text_in_a_string_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"url": "https://x/*y*/", "quote": "\\"//"}')
    assert read_settings(path, [tmp_path]).data["url"] == "https://x/*y*/"


def test_a_folder_or_a_pipe_is_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "folder", tmp_path) == "settings-not-a-file"
    assert refusal(tmp_path / "pipe", tmp_path) == "settings-not-a-file"


def test_read_only_is_meant_even_for_root(tmp_path: Path) -> None:
    path = tmp_path / "config/settings.json"
    path.parent.mkdir()
    path.write_text("{}")
    path.chmod(0o444)
    assert refusal(path, tmp_path) == "settings-read-only"
    path.chmod(0o644)
    path.parent.chmod(0o555)
    assert refusal(path, tmp_path) == "settings-read-only"
    path.parent.chmod(0o755)


def test_a_link_may_lead_through_the_home_but_not_out_of_it(tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    for folder in (home / ".claude", home / "dotfiles", other):
        folder.mkdir(parents=True)
    (home / "dotfiles/claude.json").write_text("{}")
    (other / "settings.json").write_text("{}")
    path = home / ".claude/settings.json"
    path.symlink_to("../dotfiles/claude.json")
    file = read_settings(path, [home])
    write_settings(file, b'{"a": 1}')
    assert path.is_symlink()
    assert (home / "dotfiles/claude.json").read_bytes() == b'{"a": 1}'
    path.unlink()
    path.symlink_to(other / "settings.json")
    assert refusal(path, home) == "settings-link"
    path.unlink()
    path.symlink_to(path)
    assert refusal(path, home) == "settings-link"


def test_writing_keeps_mode_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    path.chmod(0o640)
    write_settings(read_settings(path, [tmp_path]), b'{"a": 1}')
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new/settings.json"
    file = read_settings(path, [tmp_path])
    assert (file.content, file.data) == (None, {})
    write_settings(file, b"{}")
    assert path.stat().st_mode & 0o777 == 0o600


def test_somebody_elses_change_in_between_wins(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    file = read_settings(path, [tmp_path])
    path.write_text('{"theirs": 1}')
    with pytest.raises(SettingsError) as caught:
        write_settings(file, b'{"ours": 1}')
    assert caught.value.slug == "settings-changed"
    assert path.read_text() == '{"theirs": 1}'
    assert list(tmp_path.iterdir()) == [path]


def test_looking_minds_neither_links_nor_permissions(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"a": 1}')
    path.chmod(0o444)
    assert look_at_settings(path) == {"a": 1}
    assert look_at_settings(tmp_path / "none.json") == {}


def test_environment_is_text() -> None:
    data = {"env": {"A": "x", "B": 1, "C": True, "D": None, "E": {}}}
    assert environment_of(data) == {"A": "x", "B": "1", "C": "true"}
    assert environment_of({"env": []}) == {}


def test_looking_never_waits_and_never_goes_round_in_circles(tmp_path: Path) -> None:
    loop, pipe = tmp_path / "loop.json", tmp_path / "pipe.json"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for path in (loop, pipe):
        with pytest.raises(SettingsError):
            look_at_settings(path)


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    with pytest.raises(SettingsError) as caught:
        read_settings(folder / "settings.json", [tmp_path])
    assert caught.value.slug == "settings-path"


def test_variables_are_what_the_client_would_export() -> None:
    env = {"a": "x\ud800", "n": 5, "t": True, "nul": "a\0b", "list": []}
    assert environment_of({"env": env}) == {"a": "x\ufffd", "n": "5", "t": "true"}
