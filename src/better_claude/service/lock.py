"""One service for one state folder: a lock that the kernel gives back, however its owner ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from better_claude.collect import proc

# Somebody who only asks whether a service runs holds the lock for microseconds.
_ATTEMPTS = 10
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that holds the lock: its id and its start, by which it is known again."""

    pid: int
    ticks: int


class ServiceLock:
    """The lock of the running service, held until ``release`` or the end of the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> "ServiceLock | None":
        """Return the lock, or None if another process has it. Raises OSError without a folder."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _sign(descriptor)
                return cls(path, descriptor)
            time.sleep(_PAUSE_S)
        os.close(descriptor)
        return None

    def is_in_place(self) -> bool:
        """Tell whether the locked file still stands at its path; else another service may start."""
        try:
            there, here = self._path.stat(), os.fstat(self._descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def release(self) -> None:
        """Give the lock back; the file stays, because removing it would let two services in."""
        os.close(self._descriptor)


def lock_owner(path: Path) -> Owner | None:
    """Return who holds the lock; None if nobody does. Asking never blocks a starting service."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _signature(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Wait for one's turn among those who want to do the same thing: start the service, say."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    stat = proc.read_stat(os.getpid())
    text = f"{os.getpid()} {stat.ticks if stat is not None else 0}\n"
    # A full disk must not keep the service from starting; its owner is then unknown.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)


def _signature(descriptor: int) -> Owner:
    fields = os.pread(descriptor, 64, 0).split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        return Owner(int(fields[0]), int(fields[1]))
    return Owner(0, 0)
