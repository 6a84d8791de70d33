"""Read a settings file strictly, and replace it so that it is never half-written."""

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from better_claude.claude.settings.jsontext import JsonTextError, parse_object
from better_claude.errors import SettingsError

MAXIMUM_BYTES = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")
_BY_HAND = "The file was left as it is. Change it by hand, or: better-claude run -- claude"


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """One settings file as it was read; ``content`` is None where there is none yet.

    ``path`` is where the client looks, ``target`` the file itself behind links.
    """

    path: Path
    target: Path
    content: bytes | None
    text: str
    data: dict[str, Any]


def read_settings(path: Path, roots: Sequence[Path]) -> SettingsFile:
    """Read a file that is to be changed; ``roots`` are the folders in which it may lie.

    Raises SettingsError for whatever could not be changed and given back exactly: not one strict
    JSON object, a link that leaves the folders, not a regular file, read-only, larger than 1 MB, a
    path that is not UTF-8.
    """
    if _SURROGATE.search(str(path)):
        raise SettingsError(
            "settings-path", f"{path} is not UTF-8, so no record can name it", _BY_HAND
        )
    target = _target(path, roots)
    content = _content(path, target)
    if content is None or not content.strip():
        return SettingsFile(path, target, content, "{}\n", {})
    try:
        text = content.decode("utf-8")
        data = parse_object(text)
    except UnicodeDecodeError as error:
        raise SettingsError(
            "settings-broken", f"{path} is not UTF-8 (byte {error.start})", _BY_HAND
        ) from error
    except JsonTextError as error:
        raise _unparsable(path, error) from error
    if not isinstance(data.get("env", {}), dict):
        raise SettingsError("settings-env", f"{path}: env is not an object of variables", _BY_HAND)
    return SettingsFile(path, target, content, text, data)


def look_at_settings(path: Path) -> dict[str, Any]:
    """Return a file's settings without a wish to change it; {} where there is none.

    Raises SettingsError if it exists and cannot be understood.
    """
    return look_at_file(path).data


def look_at_file(path: Path) -> SettingsFile:
    """Return a file with its text without a wish to change it; raises as `look_at_settings`."""
    # Not resolved: a link to itself is an error of its own there, and reading follows links anyway.
    content = _content(path, path, to_change=False)
    if content is None or not content.strip():
        return SettingsFile(path, path, content, "{}\n", {})
    try:
        text = content.decode("utf-8")
        return SettingsFile(path, path, content, text, parse_object(text))
    except UnicodeDecodeError as error:
        raise SettingsError("settings-broken", f"{path} is not UTF-8", "Mend the file.") from error
    except JsonTextError as error:
        raise _unparsable(path, error) from error


def environment_of(data: dict[str, Any]) -> dict[str, str]:
    """Return the ``env`` block as the client exports it: texts, numbers and flags as text.

    Half a surrogate pair becomes U+FFFD, as JavaScript writes it; what holds a NUL is no variable.
    """
    env = data.get("env")
    if not isinstance(env, dict):
        return {}
    return {
        _SURROGATE.sub("\ufffd", name): _SURROGATE.sub("\ufffd", text)
        for name, value in env.items()
        if isinstance(value, str | int | float)
        and "\0" not in name + (text := value if isinstance(value, str) else json.dumps(value))
    }


def is_readable_by_others(path: Path) -> bool:
    """Tell whether another user of this machine could read a file, as far as its own mode goes."""
    try:
        return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def write_settings(file: SettingsFile, content: bytes) -> None:
    """Replace the file by ``content``: temporary file, fsync, rename; mode and owner stay.

    Raises SettingsError if somebody changed the file since it was read, or if it cannot be written;
    in both cases it is untouched.
    """
    try:
        file.target.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, content)
    except OSError as error:
        raise SettingsError(
            "settings-unwritable", f"{file.path} cannot be written: {error.strerror}", _BY_HAND
        ) from error


def check_unchanged(file: SettingsFile) -> None:
    """Raise SettingsError (``settings-changed``) if a file is not what it was when it was read."""
    try:
        now: bytes | None = file.target.read_bytes()
    except FileNotFoundError:
        now = None
    if now != file.content:
        raise SettingsError(
            "settings-changed",
            f"{file.path} was changed by somebody else in the meantime",
            "Nothing was written. Run the command again.",
        )


def remove_settings(file: SettingsFile) -> None:
    """Remove a file that was made by us; raises SettingsError as `write_settings` does."""
    try:
        check_unchanged(file)
        file.target.unlink()
    except OSError as error:
        raise SettingsError(
            "settings-unwritable", f"{file.path} cannot be removed: {error.strerror}", _BY_HAND
        ) from error


def _target(path: Path, roots: Sequence[Path]) -> Path:
    try:
        target = path.resolve()
    except (OSError, RuntimeError) as error:
        raise SettingsError(
            "settings-link", f"{path} is a link that leads nowhere: {error}", _BY_HAND
        ) from error
    if not any(target.is_relative_to(root.resolve()) for root in roots):
        raise SettingsError(
            "settings-link",
            f"{path} leads out of {roots[-1]}, to {target}",
            "The file was left as it is. Change the target yourself, or replace the link.",
        )
    return target


def _content(path: Path, target: Path, to_change: bool = True) -> bytes | None:
    try:
        status = target.stat()
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError("settings-not-a-file", f"{path} is not a regular file", _BY_HAND)
        if status.st_size > MAXIMUM_BYTES:
            raise SettingsError("settings-too-large", f"{path} is larger than 1 MB", _BY_HAND)
        if to_change:
            _check_writable(path, target, status)
        return target.read_bytes()
    except FileNotFoundError:
        if to_change:
            _check_folder(path, target.parent)
        return None
    except OSError as error:
        raise SettingsError(
            "settings-unreadable", f"{path} cannot be read: {error.strerror}", _BY_HAND
        ) from error


def _check_writable(path: Path, target: Path, status: os.stat_result) -> None:
    # The owner's bit and not only access(2): a rename would replace a read-only file all the same,
    # and root may write anything; whoever took the bit away meant it.
    if not status.st_mode & stat.S_IWUSR or not os.access(target, os.W_OK):
        raise SettingsError("settings-read-only", f"{path} is read-only", _BY_HAND)
    _check_folder(path, target.parent)


def _check_folder(path: Path, folder: Path) -> None:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    mode = folder.stat().st_mode
    if not stat.S_ISDIR(mode):
        raise SettingsError("settings-not-a-file", f"{folder} is not a folder", _BY_HAND)
    if not mode & stat.S_IWUSR or not os.access(folder, os.W_OK | os.X_OK):
        raise SettingsError(
            "settings-read-only", f"{path} cannot be replaced: {folder} is read-only", _BY_HAND
        )


def _replace(file: SettingsFile, content: bytes) -> None:
    folder = file.target.parent
    descriptor, name = tempfile.mkstemp(prefix=f".{file.target.name}.", dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            _like_before(stream.fileno(), file.target)
            stream.flush()
            os.fsync(stream.fileno())
        check_unchanged(file)
        temporary.replace(file.target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(folder)


def _like_before(descriptor: int, target: Path) -> None:
    try:
        before = target.stat()
    except FileNotFoundError:
        return  # a new file keeps mkstemp's 0600: it may hold a token
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _sync_folder(folder: Path) -> None:
    # Some file systems have no fsync of folders; the rename itself is atomic without it.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unparsable(path: Path, error: JsonTextError) -> SettingsError:
    slugs = {
        "comments": "settings-comments",
        "duplicate-key": "settings-duplicate-key",
        "not-object": "settings-not-an-object",
    }
    return SettingsError(
        slugs.get(error.kind, "settings-broken"),
        f"{path} cannot be changed safely: {error}",
        _BY_HAND,
    )
