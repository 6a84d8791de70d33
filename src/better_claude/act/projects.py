"""The project folders whose contracts the policy has to hold, remembered between services."""

import os
from pathlib import Path

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
