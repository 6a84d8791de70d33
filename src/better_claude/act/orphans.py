"""End what a run left behind when its launcher was killed, and nothing else."""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from better_claude.collect import proc

# The launcher puts the run's id into its children's environment under this name.
VARIABLE = b"BETTER_CLAUDE_RUN="
_PAUSE_S = 0.01
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Orphan:
    """A process of a run: its id and its start, by which it is known again."""

    pid: int
    ticks: int


def find_orphans(runs: Collection[str], spared: Collection[int] = ()) -> set[Orphan]:
    """Return our user's processes that carry one of these run ids, and all their descendants.

    Descendants, because a process may have been started with an environment of its own. Never
    ourselves, never one of ``spared``, and nothing that started us or one of them. A process that
    has rewritten its environment and lost its parent is not found.
    """
    spare = {ancestor for pid in (os.getpid(), *spared) for ancestor in _line_of(pid)}
    found: set[int] = set()
    for pid, _ in _carriers(runs):
        if pid not in found:
            found.update(proc.tree(pid))
    return set(_identified(found - spare))


def find_elsewhere(runs: Collection[str]) -> dict[str, Orphan]:
    """Return a process of each of these runs that goes on in another PID namespace than ours.

    A client in a sandbox (``unshare --pid``, a container with our state folder) has launchers
    whose process ids mean nothing here: that one is not running says nothing of its run.
    """
    ours = proc.pid_namespace("self")
    found: dict[str, Orphan] = {}
    for pid, run in _carriers(runs):
        if run not in found and proc.pid_namespace(pid) not in ("", ours):
            found.update((run, orphan) for orphan in _identified([pid]))
    return found


def end_orphans(runs: Collection[str], grace_s: float, spared: Collection[int] = ()) -> int:
    """End every process of these runs: SIGTERM, the grace, then SIGKILL until none is left.

    Returns how many there were. Raises TimeoutError if some are still there after five seconds.
    Blocks; a call costs one look at all processes (5 ms at 300 of them) if there are none.
    """
    met: dict[Orphan, float] = {}
    deadline = time.monotonic() + _PATIENCE_S + grace_s
    while alive := find_orphans(runs, spared):
        now = time.monotonic()
        if now > deadline:
            raise TimeoutError(f"processes that do not end: {sorted(one.pid for one in alive)}")
        for orphan in alive:
            first = met.setdefault(orphan, now)
            if first == now:
                _send(orphan, signal.SIGTERM)
            elif now - first >= grace_s:
                _send(orphan, signal.SIGKILL)
        time.sleep(_PAUSE_S)
    return len(met)


def _carriers(runs: Collection[str]) -> Iterator[tuple[int, str]]:
    """Yield our user's processes that carry one of these run ids, each with its run."""
    signs = {VARIABLE + run.encode(): run for run in runs}
    for pid in proc.process_ids():
        if proc.owner(pid) == os.getuid():
            for sign in signs.keys() & set(proc.environment(pid)):
                yield pid, signs[sign]


def _line_of(pid: int) -> Iterator[int]:
    """Yield a process and those that started it, up to the first of all."""
    while pid > 0 and (stat := proc.read_stat(pid)) is not None:
        yield pid
        pid = stat.parent


def _identified(pids: Collection[int]) -> Iterator[Orphan]:
    for pid in pids:
        stat = proc.read_stat(pid)
        if stat is not None and not stat.ended and proc.owner(pid) == os.getuid():
            yield Orphan(pid, stat.ticks)


def _send(orphan: Orphan, number: signal.Signals) -> None:
    """Signal exactly this process: a descriptor cannot come to mean another one, an id can."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(orphan.pid)
        try:
            if proc.is_running(orphan.pid, orphan.ticks):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
