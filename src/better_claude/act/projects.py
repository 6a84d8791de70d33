"""The project folders whose contracts the policy has to hold, remembered between services."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from better_claude.act.policy import KnownHooks
from better_claude.claude.hooks.inventory import (
    Inventory,
    background_commands,
    take_inventory,
    users_own_commands,
)
from better_claude.claude.places import Places
from better_claude.paths import Paths

_LONGEST_FILE = 1 << 18


def note_project(paths: Paths, folder: Path) -> None:
    """Add a folder to the file of projects, unless it stands there; raises OSError.

    Whoever starts a client notes its folder first, so that the project's contract is in force from
    the first hook on. A line is one write at the end of the file: two at once do not mix.
    """
    name = str(folder)
    if "\n" in name or name in noted_projects(paths):
        return
    descriptor = os.open(paths.projects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size < _LONGEST_FILE:
            os.write(descriptor, os.fsencode(name) + b"\n")
    finally:
        os.close(descriptor)


def noted_projects(paths: Paths) -> list[str]:
    """Return the folders noted so far, the latest last; empty if the file cannot be read."""
    try:
        text = os.fsdecode(paths.projects.read_bytes()[:_LONGEST_FILE])
    except OSError:
        return []
    return [line for line in text.split("\n") if line.startswith("/")]


def known_hooks(folders: Iterable[str]) -> KnownHooks:
    """Return what the settings of sessions in these folders say of their hooks."""
    inventories = list(_inventories(folders))
    return KnownHooks(
        background=frozenset().union(*map(background_commands, inventories)),
        users_own=frozenset().union(*map(users_own_commands, inventories)),
    )


def _inventories(folders: Iterable[str]) -> Iterator[Inventory]:
    for folder in folders:
        # A repository's files may hold anything; then nothing is known of its hooks.
        with suppress(OSError, ValueError, RecursionError):
            yield take_inventory(Places.from_environment(Path(folder)))
