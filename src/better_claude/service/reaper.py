"""Find runs whose launcher is gone, end what they left, and say how they ended."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress

from better_claude.act.orphans import Orphan, end_orphans, find_elsewhere
from better_claude.clock import Clock
from better_claude.collect import proc
from better_claude.model import Mode, Record, Run, RunStart
from better_claude.service.health import Health
from better_claude.service.recorder import Recorder
from better_claude.store.views import RunningRun

_log = logging.getLogger("better_claude")

Begun = RunStart | RunningRun


class Reaper:
    """Watch the launchers of the runs that have begun.

    A hook's launcher that is gone without an end was killed: what the hook left is ended, and the
    run is lost. A tool's was killed by the client together with the command, and what lives on is
    a background task that the user may want: the run is lost, nothing is ended. A server's
    launcher became the server, so its end is the run's regular end.

    A launcher that was never seen alive may be one of another PID namespace, where its id means
    another process: as long as anything there carries the run's id, the run goes on.
    """

    def __init__(
        self, recorder: Recorder, health: Health, clock: Clock, grace_s: Callable[[], float]
    ) -> None:
        self._recorder = recorder
        self._health = health
        self._clock = clock
        self._grace_s = grace_s
        self._begun: dict[str, Begun] = {}
        self._seen_alive: set[str] = set()
        self._elsewhere: dict[str, Orphan] = {}

    def notice(self, records: Sequence[Record] | Sequence[RunningRun]) -> None:
        """Take note of starts, and of ends, in whatever order they come."""
        ended = {record.run for record in records if isinstance(record, Run)}
        for record in records:
            if isinstance(record, RunStart | RunningRun) and record.run not in ended:
                self._begun[record.run] = record
                self._lives(record)
        for run in ended:
            self._forget(run)

    async def look(self) -> None:
        """Deal with every run whose launcher is gone; costs one read of ``/proc`` a running run."""
        gone = self._gone()
        self._resume_stopped()
        if not gone:
            return
        # A launcher writes its end before it exits: what it wrote is in the spool by now.
        await self._recorder.drain()
        await self._find_elsewhere(gone & self._begun.keys() - self._seen_alive)
        lost = [self._begun[run] for run in gone & self._begun.keys() - self._elsewhere.keys()]
        try:
            await self._end_what_is_left([begun for begun in lost if begun.mode is Mode.HOOK])
        finally:
            await self._recorder.mark_lost({begun.run: self._end_ns(begun) for begun in lost})
            for begun in lost:
                self._forget(begun.run)
                self._health.count(f"{begun.mode}_runs_without_end")

    def _gone(self) -> set[str]:
        return {run for run, begun in self._begun.items() if not self._lives(begun)}

    def _resume_stopped(self) -> None:
        """Wake launchers that a hook has stopped: asleep, they would hold it to no limit.

        Their whole group, because the shell that the client waits for was stopped with them.
        """
        for run in self._seen_alive & self._begun.keys():
            begun = self._begun[run]
            if begun.mode is not Mode.HOOK:
                continue
            stat = proc.read_stat(begun.launcher_pid)
            if stat is None or stat.state != "T" or stat.ticks != begun.launcher_ticks:
                continue
            with suppress(OSError):
                os.killpg(os.getpgid(begun.launcher_pid), signal.SIGCONT)
                self._health.count("stopped_launchers")
                _log.warning("resumed the launcher of run %s, which something had stopped", run)

    async def _find_elsewhere(self, runs: set[str]) -> None:
        for run in runs:
            self._elsewhere.pop(run, None)
        if runs:
            self._elsewhere.update(await asyncio.to_thread(find_elsewhere, runs))

    def _lives(self, begun: Begun) -> bool:
        elsewhere = self._elsewhere.get(begun.run)
        if elsewhere is not None:
            return proc.is_running(elsewhere.pid, elsewhere.ticks)
        lives = proc.is_running(begun.launcher_pid, begun.launcher_ticks)
        if lives:
            self._seen_alive.add(begun.run)
        return lives

    async def _end_what_is_left(self, hooks: list[Begun]) -> None:
        if not hooks:
            return
        runs = [hook.run for hook in hooks]
        clients = {hook.claude_pid for hook in hooks if hook.claude_pid}
        ended = await asyncio.to_thread(end_orphans, runs, self._grace_s(), clients)
        if ended:
            self._health.count("orphans_ended", ended)
            _log.warning("ended %d processes of %d hooks whose launcher died", ended, len(hooks))

    def _end_ns(self, begun: Begun) -> int:
        # A duration by the boot clock, which no one sets. Of a run that ended while nobody watched
        # nothing is known: its duration is 0.
        if begun.run not in self._seen_alive:
            return begun.start_ns
        if not begun.launcher_ticks:
            return self._clock.wall_ns()
        return begun.start_ns + proc.age_ns(begun.launcher_ticks)

    def _forget(self, run: str) -> None:
        self._begun.pop(run, None)
        self._seen_alive.discard(run)
        self._elsewhere.pop(run, None)
