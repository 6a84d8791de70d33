"""Look at each Claude Code client's process tree: what a session costs the machine."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from better_claude.collect import proc
from better_claude.collect.growth import Counters, Usage, growth
from better_claude.collect.sockets import Traffic, tcp_traffic
from better_claude.model import ClientEvent, SessionSample, Source

# A spool full of invented clients must not make us walk the machine.
MAXIMUM_CLIENTS = 64
# The wall clock of a record and the boot clock of a process may differ by this much.
_SLACK_NS = 2_000_000_000


@dataclass(slots=True)
class _Client:
    """A client that lives, and its totals since it was first seen."""

    pid: int
    ticks: int
    session: str
    same_network: bool
    before: dict[int, Usage]
    traffic: dict[int, Traffic] = field(default_factory=dict)
    totals: Counters = (0, 0, 0)
    received_bytes: int = 0
    sent_bytes: int = 0


class SessionSampler:
    """Know which clients live, and look at their trees.

    A client that nobody has looked at counts from its own start. One that an earlier service has
    sampled counts from the first look, because what came before is in the store.
    """

    def __init__(self) -> None:
        self._clients: dict[int, _Client] = {}
        self._network = proc.network_namespace("self")

    def __len__(self) -> int:
        return len(self._clients)

    def knows(self, claude_pid: int) -> bool:
        """Tell whether this client is being looked at."""
        return claude_pid in self._clients

    def note(self, session: str, claude_pid: int, age_ns: int, sampled: bool = False) -> None:
        """Take note that ``claude_pid`` was the client of ``session`` ``age_ns`` ago.

        ``sampled`` tells that the store has samples of it. Without effect if that process has
        ended since and its id belongs to a younger one.
        """
        known = self._clients.get(claude_pid)
        if known is not None:
            known.session = session
            return
        stat = proc.read_stat(claude_pid)
        if (
            stat is None
            or stat.ended
            or not session
            or len(self._clients) >= MAXIMUM_CLIENTS
            or proc.owner(claude_pid) != os.getuid()
            or proc.age_ns(stat.ticks) < age_ns - _SLACK_NS
        ):
            return
        self._clients[claude_pid] = self._meet(session, stat, sampled)

    def look(self, now_ns: int) -> list[SessionSample | ClientEvent]:
        """Return a sample of each client that lives, ``client_gone`` for each that has ended."""
        found: list[SessionSample | ClientEvent] = []
        if not self._clients:
            return found
        traffic = tcp_traffic()
        for client in list(self._clients.values()):
            if proc.is_running(client.pid, client.ticks):
                found.append(_sample(client, traffic, now_ns))
            else:
                del self._clients[client.pid]
                found.append(_gone(client, now_ns))
        return found

    def _meet(self, session: str, stat: proc.Stat, sampled: bool) -> _Client:
        client = _Client(
            pid=stat.pid,
            ticks=stat.ticks,
            session=session,
            same_network=proc.network_namespace(stat.pid) == self._network,
            before={},
        )
        if sampled:
            pids = proc.tree(stat.pid)
            client.before = dict(_usages(pids, {}))
            client.traffic = _held(pids, tcp_traffic() or {}) or {}
        return client


def _sample(client: _Client, traffic: Mapping[int, Traffic] | None, now_ns: int) -> SessionSample:
    pids = proc.tree(client.pid)
    sizes = [proc.memory(pid) for pid in pids]
    _add_up(client, pids)
    told = traffic is not None and client.same_network and _add_traffic(client, pids, traffic)
    has_disk = proc.disk(client.pid) is not None
    return SessionSample(
        time_ns=now_ns,
        session=client.session,
        claude_pid=client.pid,
        processes=len(pids),
        cpu_ns=client.totals[0],
        rss_bytes=sum(resident for resident, _ in sizes),
        anon_bytes=sum(anonymous for _, anonymous in sizes),
        disk_read_bytes=client.totals[1] if has_disk else -1,
        disk_write_bytes=client.totals[2] if has_disk else -1,
        net_received_bytes=client.received_bytes if told else -1,
        net_sent_bytes=client.sent_bytes if told else -1,
    )


def _gone(client: _Client, now_ns: int) -> ClientEvent:
    return ClientEvent(
        time_ns=now_ns,
        session=client.session,
        name="client_gone",
        source=Source.SAMPLER,
        ident=f"gone:{client.pid}:{client.ticks}",
    )


def _add_up(client: _Client, pids: list[int]) -> None:
    now = dict(_usages(pids, client.before))
    rise = growth(client.before, now)
    client.totals = (
        client.totals[0] + rise[0],
        client.totals[1] + rise[1],
        client.totals[2] + rise[2],
    )
    client.before = now


def _usages(pids: list[int], before: Mapping[int, Usage]) -> Iterator[tuple[int, Usage]]:
    for pid in pids:
        stat = proc.read_stat(pid)
        if stat is not None:
            # An ended process is not told of its I/O any more, but its parent will be.
            old = before[pid].counters[1:] if pid in before else (0, 0)
            read, written = proc.disk(pid) or old
            yield pid, Usage(stat.parent, stat.ticks, (stat.cpu_ns, read, written))


def _add_traffic(client: _Client, pids: list[int], traffic: Mapping[int, Traffic]) -> bool:
    now = _held(pids, traffic)
    if now is None:
        return False
    for inode, seen in now.items():
        old = client.traffic.get(inode, Traffic(0, 0))
        # An inode number that came again counts from zero.
        fresh = seen.received_bytes < old.received_bytes or seen.sent_bytes < old.sent_bytes
        client.received_bytes += seen.received_bytes - (0 if fresh else old.received_bytes)
        client.sent_bytes += seen.sent_bytes - (0 if fresh else old.sent_bytes)
    client.traffic = now
    return True


def _held(pids: list[int], traffic: Mapping[int, Traffic]) -> dict[int, Traffic] | None:
    """Return the connections that the tree holds; None if its root may not be asked."""
    inodes: set[int] = set()
    for place, pid in enumerate(pids):
        held = proc.socket_inodes(pid)
        if held is None and place == 0:
            return None
        inodes |= held or set()
    return {inode: traffic[inode] for inode in inodes & traffic.keys()}
