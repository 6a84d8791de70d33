"""What `install` wrote into one settings file, and how to take it out again."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from better_claude.claude.places import Scope
from better_claude.claude.settings.file import look_at_file
from better_claude.claude.settings.jsontext import drop, parse_object, put, put_text, value_text
from better_claude.errors import SettingsError
from better_claude.model import fnv1a64

_ENV = ("env",)
_RECORD, _ORIGINAL, _WRITTEN = "record.json", "original", "written"


class Change(msgspec.Struct, frozen=True):
    """One member: what was written there before (None: nothing) and what is now, as JSON text."""

    path: tuple[str, ...]
    before: str | None
    after: str


class Installation(msgspec.Struct, frozen=True):
    """One settings file that we changed; ``created`` and ``made_folder`` if it was not there."""

    path: str
    scope: Scope
    version: str
    installed_ns: int
    changes: tuple[Change, ...]
    created: bool = False
    made_folder: bool = False
    feeds: bool = False


class StoredInstallation(msgspec.Struct, frozen=True):
    """An installation with the file's bytes before (None: no file) and after it."""

    record: Installation
    original: bytes | None
    written: bytes


def merge(text: str, members: Mapping[tuple[str, ...], object]) -> tuple[str, tuple[Change, ...]]:
    """Return ``text`` with ``members`` set, and what that changed; equal values are left alone."""
    changes = []
    if value_text(text, _ENV) is None and any(path[:1] == _ENV for path in members):
        text = put(text, _ENV, {})
        changes.append(Change(_ENV, None, "{}"))
    for path, value in members.items():
        before = value_text(text, path)
        if before is not None and json.loads(before) == value:
            continue
        text = put(text, path, value)
        after = value_text(text, path)
        assert after is not None
        changes.append(Change(tuple(path), before, after))
    return text, tuple(changes)


def take_out(text: str, changes: Sequence[Change]) -> tuple[str, tuple[Change, ...]]:
    """Return ``text`` as it would be without ``changes``, and those that somebody edited since.

    A member that no longer is what we wrote belongs to whoever changed it, and stays.
    """
    edited = []
    for change in reversed(changes):
        now = value_text(text, change.path)
        if now is None:
            continue
        if json.loads(now) != json.loads(change.after):
            # An env block of ours that still holds somebody's variables is no edit of one of ours.
            edited += [change] if change.path != _ENV else []
        elif change.before is None:
            text = drop(text, change.path)
        else:
            text = put_text(text, change.path, change.before)
    return text, tuple(reversed(edited))


def without_ours(file_text: str, content: bytes | None, stored: StoredInstallation | None) -> str:
    """Return a file's text before us: the original if nobody changed it since, else by key."""
    if stored is None:
        return file_text
    if content == stored.written:
        original = (stored.original or b"").decode("utf-8")
        return original if original.strip() else "{}\n"
    if content == stored.original:
        return file_text
    return take_out(file_text, stored.record.changes)[0]


def settings_before_us(installs: Path, path: Path) -> dict[str, Any]:
    """Return a file's settings as they would be without us, as far as that is recorded.

    Raises SettingsError if the file exists and cannot be understood.
    """
    file = look_at_file(path)
    return parse_object(without_ours(file.text, file.content, load(installs, path)))


def is_empty(text: str) -> bool:
    """Tell whether nothing is left in a settings text."""
    return not parse_object(text)


def identity(path: Path) -> str:
    """Return the name of an installation's folder: the FNV-1a of the settings file's path."""
    return f"{fnv1a64(str(path).encode('utf-8', 'surrogateescape')):016x}"


def load(installs: Path, path: Path) -> StoredInstallation | None:
    """Return what is recorded of a settings file; None if nothing usable is."""
    return _load(installs / identity(path))


def load_all(installs: Path) -> list[StoredInstallation]:
    """Return every recorded installation, by path."""
    try:
        folders = sorted(installs.iterdir())
    except OSError:
        return []
    found = [stored for folder in folders if (stored := _load(folder)) is not None]
    return sorted(found, key=lambda stored: stored.record.path)


def save(installs: Path, stored: StoredInstallation) -> None:
    """Record an installation, before the settings file is written."""
    folder = installs / identity(Path(stored.record.path))
    fresh = installs / f".{folder.name}.new"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        # Each of them: parents=True makes the folders above with the usual mode.
        installs.mkdir(mode=0o700, parents=True, exist_ok=True)
        installs.chmod(0o700)
        fresh.mkdir(mode=0o700)
        if stored.original is not None:
            _write(fresh / _ORIGINAL, stored.original)
        _write(fresh / _WRITTEN, stored.written)
        _write(fresh / _RECORD, msgspec.json.encode(stored.record))
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    except OSError as error:
        raise SettingsError(
            "state-folder",
            f"the state folder {installs.parent} cannot be used: {error.strerror or error}",
            "Give it to yourself, make room, or name another one in BETTER_CLAUDE_STATE.",
        ) from error


def forget(installs: Path, path: Path) -> None:
    """Remove what is recorded of a settings file."""
    shutil.rmtree(installs / identity(path), ignore_errors=True)


def _load(folder: Path) -> StoredInstallation | None:
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=Installation)
        original = folder / _ORIGINAL
        return StoredInstallation(
            record,
            original.read_bytes() if original.exists() else None,
            (folder / _WRITTEN).read_bytes(),
        )
    except (OSError, msgspec.MsgspecError):
        return None


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def values(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return changes as records for ``--json``."""
    return [
        {"path": ".".join(change.path), "before": change.before, "after": change.after}
        for change in changes
    ]
