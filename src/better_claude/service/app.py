"""The service: wires the stages together and keeps them running."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from better_claude import __version__
from better_claude.act.policy import replace_file
from better_claude.clock import SystemClock
from better_claude.collect.sampler import SessionSampler
from better_claude.errors import ServiceError
from better_claude.model import Record, Run, RunStart
from better_claude.paths import Paths
from better_claude.service.cgroups import CgroupSweeper, open_cgroups
from better_claude.service.contracts import ContractWatch
from better_claude.service.endpoint import Endpoint, ensure_endpoint
from better_claude.service.forward import FORWARD_FILE, Forwarder
from better_claude.service.health import Health
from better_claude.service.lock import ServiceLock
from better_claude.service.reaper import Reaper
from better_claude.service.receiver import Receiver
from better_claude.service.recorder import Recorder
from better_claude.service.stage import Stage, run_stage

_log = logging.getLogger("better_claude")

TAIL_PERIOD_S = 0.2
REAP_PERIOD_S = 1.0
WATCH_PERIOD_S = 1.0
PORT_PERIOD_S = 5.0
RETENTION_PERIOD_S = 3600.0
SWEEP_PERIOD_S = 60.0
# A session that was active this long ago may still be there after a restart.
_RECENT_NS = 24 * 3600 * 1_000_000_000
# How long to wait for a state folder that has vanished before giving up.
HOMELESS_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Sight:
    """Where a client was seen last; ``sampled`` if the store has samples of it already."""

    session: str
    seen_ns: int
    sampled: bool = False


class Service:
    """All stages of one service, over one state folder that is there."""

    def __init__(self, paths: Paths, lock: ServiceLock, endpoint: Endpoint) -> None:
        self._paths = paths
        self._lock = lock
        self._endpoint = endpoint
        self._clock = SystemClock()
        self._started_ns = self._clock.wall_ns()
        self._health = Health()
        cgroups = open_cgroups()
        self._contracts = ContractWatch(paths, cgroups)
        self._recorder = Recorder(paths, self._clock, self._listen)
        self._sampler = SessionSampler()
        self._clients: dict[int, _Sight] = {}
        self._reaper = Reaper(self._recorder, self._health, self._clock, self._grace_s)
        self._forwarder = Forwarder(paths.state / FORWARD_FILE, endpoint.port, self._health)
        self._receiver = Receiver(
            self._recorder, self._forwarder, self._health, self._clock, self._about
        )
        self._contract_stage = Stage(
            "contract", self._contracts.look, lambda: WATCH_PERIOD_S, WATCH_PERIOD_S
        )
        self._sampler_stage = Stage("sampler", self._sample, self._sample_every_s)
        sweepers = [CgroupSweeper(cgroups.folder)] if cgroups else []
        self._cgroup_stages = [
            Stage("cgroups", sweeper.look, lambda: SWEEP_PERIOD_S) for sweeper in sweepers
        ]

    async def run(self, stop: asyncio.Event) -> bool:
        """Run until ``stop`` is set or the state folder is lost; tell whether it was lost."""
        lost = asyncio.Event()
        async with self._open():
            stages = (
                Stage("spool", self._recorder.drain, lambda: TAIL_PERIOD_S, 5.0),
                Stage("runs", self._reaper.look, lambda: REAP_PERIOD_S, 5.0),
                Stage("receiver", self._listen_tcp, lambda: PORT_PERIOD_S),
                Stage("forward", self._forwarder.look, lambda: WATCH_PERIOD_S),
                Stage("retention", self._expire, lambda: RETENTION_PERIOD_S, 600.0),
                self._contract_stage,
                self._sampler_stage,
                *self._cgroup_stages,
            )
            tasks = [asyncio.create_task(run_stage(stage, self._health)) for stage in stages]
            tasks.append(asyncio.create_task(self._watch_home(lost)))
            self._announce()
            await _first(stop, lost)
            await _end_all(tasks)
            if stop.is_set():
                await self._last_drain()
        return lost.is_set()

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        try:
            # Before anybody is told that we are ready, each once; what fails is tried again later.
            with contextlib.suppress(Exception):
                await self._contracts.look()
            with contextlib.suppress(Exception):
                await self._remember()
            with contextlib.suppress(Exception):
                await self._listen_tcp()
            await self._receiver.open_unix(self._paths.state)
            yield
        finally:
            await self._receiver.close()
            await self._forwarder.close()
            await self._recorder.close()
            self._contracts.close()

    def _announce(self) -> None:
        # Everything up to here lives as long as the process: no need to look at it again.
        gc.collect()
        gc.freeze()
        with contextlib.suppress(OSError):
            replace_file(self._paths.service_info, json.dumps(self._about()).encode() + b"\n")
        _log.info("ready: pid %d, port %d, version %s", os.getpid(), self._port, __version__)

    async def _remember(self) -> None:
        now_ns = self._clock.wall_ns()
        for session in await self._recorder.recent_sessions(now_ns - _RECENT_NS):
            sampled = session.cpu_ns >= 0
            self._note_client(session.claude_pid, _Sight(session.session, session.last_ns, sampled))
            self._contracts.notice([session.project])
        self._reaper.notice(await self._recorder.running())

    def _listen(self, records: Sequence[Record]) -> None:
        """Hear of what came from the spool."""
        runs = [record for record in records if isinstance(record, RunStart | Run)]
        self._reaper.notice(runs)
        if self._contracts.notice(run.project for run in runs):
            self._contract_stage.wake.set()
        for run in runs:
            self._note_client(run.claude_pid, _Sight(run.session, run.start_ns))

    def _note_client(self, claude_pid: int, sight: "_Sight") -> None:
        if claude_pid <= 0 or not sight.session:
            return
        if not self._sampler.knows(claude_pid):
            self._sampler_stage.wake.set()
        before = self._clients.get(claude_pid)
        self._clients[claude_pid] = replace(sight, sampled=before.sampled) if before else sight

    async def _sample(self) -> None:
        clients, self._clients = self._clients, {}
        if not clients and not len(self._sampler):
            return
        now_ns = self._clock.wall_ns()
        await self._recorder.store(await asyncio.to_thread(self._look, clients, now_ns))

    def _look(self, clients: "dict[int, _Sight]", now_ns: int) -> Sequence[Record]:
        for pid, sight in clients.items():
            self._sampler.note(sight.session, pid, now_ns - sight.seen_ns, sight.sampled)
        return self._sampler.look(now_ns)

    async def _listen_tcp(self) -> None:
        await self._receiver.open_tcp(self._endpoint)

    async def _expire(self) -> None:
        contract = self._contracts.contract
        now_ns = self._clock.wall_ns()
        detailed_ns = now_ns - contract.number("retention.detailed")
        aggregated_ns = now_ns - contract.number("retention.aggregated")
        # In portions, because others want to write too.
        while await self._recorder.expire(detailed_ns, aggregated_ns):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def _watch_home(self, lost: asyncio.Event) -> None:
        while self._lock.is_in_place():  # noqa: ASYNC110 (a file tells nobody)
            await asyncio.sleep(WATCH_PERIOD_S)
        lost.set()

    async def _last_drain(self) -> None:
        try:
            async with asyncio.timeout(5.0):
                await self._recorder.drain()
        except Exception as error:
            _log.warning("the rest of the spool is read at the next start: %s", error)

    def _grace_s(self) -> float:
        return self._contracts.contract.number("stop.grace") / 1e9

    def _sample_every_s(self) -> float:
        return self._contracts.contract.number("service.sample_every") / 1e9

    @property
    def _port(self) -> int:
        return self._endpoint.port if self._receiver.listens else 0

    def _about(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "port": self._port,
            "started_ns": self._started_ns,
            "version": __version__,
        }


async def serve(paths: Paths) -> bool:
    """Run the service until SIGTERM or SIGINT; False if another one has the state folder already.

    A state folder that vanishes is waited for, an hour long, and taken up again when it is back.
    Raises OSError or ServiceError if it cannot be used at the start.
    """
    os.umask(0o077)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    paths.create()
    end = await _serve_once(paths, stop)
    while end is _End.HOMELESS:
        _log.error("the state folder %s is gone or was replaced; waiting for it", paths.state)
        if not await _back(paths, stop):
            return True
        try:
            end = await _serve_once(paths, stop)
        except (OSError, ServiceError) as error:
            _log.error("the state folder cannot be used: %s", error)
            await asyncio.sleep(WATCH_PERIOD_S)
    return end is _End.STOPPED


class _End(Enum):
    """How a service ended: told to, its state folder gone, or another service there before it."""

    STOPPED = "stopped"
    HOMELESS = "homeless"
    SECOND = "second"


async def _serve_once(paths: Paths, stop: asyncio.Event) -> _End:
    lock = ServiceLock.acquire(paths.service_lock)
    if lock is None:
        return _End.SECOND
    try:
        if await Service(paths, lock, ensure_endpoint(paths)).run(stop):
            return _End.HOMELESS
        _farewell(paths)
        return _End.STOPPED
    finally:
        lock.release()


def _farewell(paths: Paths) -> None:
    for path in (paths.service_info, paths.state / "api.sock"):
        with contextlib.suppress(OSError):
            path.unlink()
    _log.info("stopped")


async def _back(paths: Paths, stop: asyncio.Event) -> bool:
    """Wait until the state folder is there again; it is not for us to make it anew."""
    deadline = time.monotonic() + HOMELESS_S
    while time.monotonic() < deadline and not stop.is_set():
        with contextlib.suppress(OSError):
            if paths.state.is_dir():
                paths.create()
                return True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WATCH_PERIOD_S)
    return False


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await _end_all(waiting)


async def _end_all(tasks: "Sequence[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
