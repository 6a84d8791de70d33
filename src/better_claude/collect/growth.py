"""Add up counters over a tree of processes that come and go, so that the sum never falls."""

from collections.abc import Mapping
from dataclasses import dataclass

# CPU ns, bytes read, bytes written.
Counters = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Usage:
    """One process's counters at one look, waited-for children included, and who it is."""

    parent: int
    ticks: int
    counters: Counters


Look = Mapping[int, Usage]


def growth(before: Look, now: Look) -> Counters:
    """Return by how much a tree's counters grew between two looks; each at least 0.

    The kernel moves the counters of a child that was waited for to its parent. So what a vanished
    process had is taken off the rise of its nearest ancestor that is still there, down to 0:
    whether or not the parent waited for it, nothing is counted twice and nothing falls.
    """
    owed: dict[int, Counters] = {}
    for pid, usage in before.items():
        if not _stays(pid, before, now):
            heir = _heir(pid, before, now)
            owed[heir] = _sum(owed.get(heir, (0, 0, 0)), usage.counters)
    total = (0, 0, 0)
    for pid, usage in now.items():
        old = before[pid].counters if _stays(pid, before, now) else (0, 0, 0)
        total = _sum(total, _rise(usage.counters, old, owed.get(pid, (0, 0, 0))))
    return total


def _stays(pid: int, before: Look, now: Look) -> bool:
    return pid in before and pid in now and before[pid].ticks == now[pid].ticks


def _heir(pid: int, before: Look, now: Look) -> int:
    parent = before[pid].parent
    # At most as many steps as processes: parents are read one after the other, and a process id
    # that came again in between can close a circle.
    for _ in before:
        if parent not in before or _stays(parent, before, now):
            break
        parent = before[parent].parent
    return parent


def _sum(one: Counters, other: Counters) -> Counters:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _rise(new: Counters, old: Counters, owed: Counters) -> Counters:
    cpu, read, written = (max(0, new[i] - old[i] - owed[i]) for i in range(3))
    return cpu, read, written
