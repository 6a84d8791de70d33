"""Cgroups for hooks, where a cgroup v2 subtree is delegated to the service (cgroups(7)).

The service recognises such a subtree by the leaf in which it finds itself: whoever starts it puts
it into a cgroup of the subtree that is called ``better-claude``, as systemd does with
``DelegateSubgroup=`` (service/unit.py). It never moves itself, because it could not tell a cgroup
that is its own from one in which a terminal's other processes live.
"""

import asyncio
import contextlib
import errno
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from better_claude.act.policy import Cgroups

LEAF = "better-claude"
_HOOKS = "hooks"
_RUNS = "run-*"
_SELF = Path("/proc/self")
_OCTAL = re.compile(r"\\([0-7]{3})")
_log = logging.getLogger("better_claude")


@dataclass(frozen=True, slots=True)
class _Cgroup:
    """One cgroup: its folder, and its name in ``/proc/<pid>/cgroup``."""

    folder: Path
    name: PurePosixPath

    @property
    def above(self) -> "_Cgroup":
        return _Cgroup(self.folder.parent, self.name.parent)


def open_cgroups(process: Path = _SELF) -> Cgroups | None:
    """Return where hooks get cgroups of their own; None, and a line in the log, if nowhere."""
    try:
        cgroups = prepare_cgroups(process)
    except OSError as error:
        _log.warning("hooks get no cgroups, their memory is polled: %s", error)
        return None
    if cgroups is not None:
        _log.info("hooks get cgroups of their own in %s", cgroups.folder)
    return cgroups


def prepare_cgroups(process: Path = _SELF) -> Cgroups | None:
    """Make a folder for hooks' cgroups with the memory controller in force in each of them.

    Returns None where no subtree is delegated. Raises OSError where one is that cannot be used.
    """
    own = _own_cgroup(process)
    if own is None or own.name.name != LEAF:
        return None
    subtree = own.above
    if "memory" not in (subtree.folder / "cgroup.controllers").read_text().split():
        raise OSError(errno.EOPNOTSUPP, "no memory controller is delegated", str(subtree.folder))
    hooks = subtree.folder / _HOOKS
    hooks.mkdir(exist_ok=True)
    for folder in (subtree.folder, hooks):
        (folder / "cgroup.subtree_control").write_text("+memory")
    return Cgroups(hooks, _reach(subtree))


class CgroupSweeper:
    """Remove the cgroups of runs whose launcher could not: it was killed, or something lived on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[str] = set()

    async def look(self) -> None:
        """Remove each empty cgroup that was there at the last look already.

        A launcher needs some µs between making a cgroup and living in it.
        """
        await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        there = {path.name for path in self._folder.glob(_RUNS)}
        for name in there & self._seen:
            # The kernel keeps one in which something lives.
            with contextlib.suppress(OSError):
                (self._folder / name).rmdir()
        self._seen = there


def _own_cgroup(process: Path) -> _Cgroup | None:
    lines = (process / "cgroup").read_text(errors="replace").splitlines()
    names = [PurePosixPath(line[3:]) for line in lines if line.startswith("0::/")]
    for name in names:
        for root, mount in _mounts(process):
            if name.is_relative_to(root):
                return _Cgroup(mount / name.relative_to(root), name)
    return None


def _mounts(process: Path) -> Iterator[tuple[str, Path]]:
    """Yield where cgroup v2 is mounted, each with the name of the cgroup that is seen there."""
    for line in (process / "mountinfo").read_text(errors="replace").splitlines():
        fields = line.split(" ")
        if fields[fields.index("-") + 1] == "cgroup2":
            yield _plain(fields[3]), Path(_plain(fields[4]))


def _plain(field: str) -> str:
    """Undo proc(5)'s escapes: a space is written ``\\040``."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)


def _reach(cgroup: _Cgroup) -> str:
    """Return the highest cgroup from below which we may place processes in ``cgroup``.

    The kernel asks for write access to ``cgroup.procs`` of what is above both places.
    """
    highest = cgroup
    while highest.name != highest.above.name and _is_ours(highest.above):
        highest = highest.above
    name = str(highest.name)
    return "" if name == "/" else name


def _is_ours(cgroup: _Cgroup) -> bool:
    return os.access(cgroup.folder / "cgroup.procs", os.W_OK)
