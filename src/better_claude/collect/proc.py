"""Read what Linux tells of processes (proc(5)); a process that has gone reads as None or empty."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Stat:
    """What ``/proc/<pid>/stat`` says. ``ticks`` is the start since boot: with the pid, an identity.

    ``cpu_ns`` is user and system time, that of waited-for children included.
    """

    pid: int
    state: str
    parent: int
    ticks: int
    cpu_ns: int

    @property
    def ended(self) -> bool:
        """Whether it has ended and only waits to be reaped."""
        return self.state in ("Z", "X")


def read_stat(pid: int) -> Stat | None:
    """Return the state, parent, start and CPU time of a process."""
    data = _read(f"/proc/{pid}/stat")
    # The name stands in parentheses and may hold any byte, parentheses and spaces included.
    fields = data[data.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Stat(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        ticks=int(fields[19]),
        cpu_ns=sum(map(int, fields[11:15])) * TICK_NS,
    )


def is_running(pid: int, ticks: int) -> bool:
    """Tell whether the process that started at ``ticks`` still runs; 0 ticks matches any start."""
    stat = read_stat(pid)
    return stat is not None and not stat.ended and ticks in (0, stat.ticks)


def age_ns(ticks: int) -> int:
    """Return how long ago a process started, by a clock that no one sets."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * TICK_NS


def owner(pid: int) -> int | None:
    """Return the user id of a process."""
    try:
        return os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116 (called for every process)
    except OSError:
        return None


def process_ids() -> Iterator[int]:
    """Yield the ids of all processes."""
    for name in os.listdir("/proc"):  # noqa: PTH208 (a string is enough)
        if name.isdigit():
            yield int(name)


def tree(root: int) -> list[int]:
    """Return ``root`` and all its descendants, parents before children."""
    found = [root]
    for pid in found:
        found += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return children
    for thread in threads:
        children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def memory(pid: int) -> tuple[int, int]:
    """Return (resident, anonymous) bytes; anonymous is resident less what files back."""
    fields = _read(f"/proc/{pid}/statm").split()
    if len(fields) < 3:
        return 0, 0
    resident, shared = int(fields[1]), int(fields[2])
    return resident * PAGE_BYTES, max(0, resident - shared) * PAGE_BYTES


def disk(pid: int) -> tuple[int, int] | None:
    """Return (read, written) bytes of block I/O, waited-for children included; None if not told."""
    read = written = None
    for line in _read(f"/proc/{pid}/io").splitlines():
        name, _, value = line.partition(b": ")
        if name == b"read_bytes":
            read = int(value)
        elif name == b"write_bytes":
            written = int(value)
    return None if read is None or written is None else (read, written)


def environment(pid: int) -> list[bytes]:
    """Return the environment with which a process was started, as ``NAME=value``."""
    return _read(f"/proc/{pid}/environ").split(b"\0")


def socket_inodes(pid: int) -> set[int] | None:
    """Return the inodes of the sockets that a process holds open; None if it may not be asked."""
    folder = f"/proc/{pid}/fd"
    found: set[int] = set()
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return None
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 (called for every descriptor)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def network_namespace(pid: int | str) -> str:
    """Return what names the network namespace of a process, or ``""``."""
    return _namespace(pid, "net")


def pid_namespace(pid: int | str) -> str:
    """Return what names the PID namespace of a process, or ``""``."""
    return _namespace(pid, "pid")


def _namespace(pid: int | str, kind: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115
    except OSError:
        return ""


def _read(path: str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
        return b"".join(parts)
    except OSError:
        # ESRCH: the process ended between opening and reading.
        return b""
    finally:
        os.close(descriptor)
