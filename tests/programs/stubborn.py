"""Programs that do not want to die, or that use more than they seem to: ``stubborn.py NAME MARK``.

The mark only names the processes. All of them give up by themselves after a minute.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
LIFE = 60
SLEEPER = [sys.executable, "-S", "-c", f"import time; time.sleep({LIFE})", sys.argv[-1]]


def stay() -> None:
    for _ in range(10 * LIFE):
        time.sleep(0.1)


def deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def prctl(*arguments: int | bytes) -> None:
    ctypes.CDLL(None).prctl(*arguments)


def in_fork(work: Callable[[], object]) -> None:
    if os.fork() == 0:
        work()
        os._exit(0)


def twice_removed(work: Callable[[], object]) -> None:
    """Run ``work`` in a daemon's place: own session, no parent."""

    def between() -> None:
        os.setsid()
        in_fork(work)

    in_fork(between)
    os.wait()


def hang() -> None:
    stay()


def busy() -> None:
    end = time.time() + LIFE
    while time.time() < end:
        pass


def deaf_alone() -> None:
    deaf()
    stay()


def child() -> None:
    subprocess.Popen(SLEEPER).wait()


def deaf_child() -> None:
    deaf()
    child()


def children() -> None:
    for _ in range(20):
        subprocess.Popen(SLEEPER)
    stay()


def grandchild_after_main() -> None:
    """The first process heeds SIGTERM, its child does not."""
    in_fork(deaf_alone)
    stay()


def double_fork() -> None:
    in_fork(lambda: in_fork(stay))
    os.wait()
    stay()


def setsid() -> None:
    def away() -> None:
        os.setsid()
        stay()

    in_fork(away)
    stay()


def deaf_daemon() -> None:
    twice_removed(deaf_alone)
    stay()


def daemon_without_streams() -> None:
    def work() -> None:
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.chdir("/")
        deaf_alone()

    twice_removed(work)
    stay()


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    stay()


def stopped_child() -> None:
    in_fork(stopped)
    stay()


def empty_environment() -> None:
    subprocess.Popen(SLEEPER, env={}, start_new_session=True)
    stay()


def own_subreaper() -> None:
    """Orphans below it become its children and not the launcher's."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    twice_removed(deaf_alone)
    stay()


def not_dumpable() -> None:
    """Its folder in /proc belongs to root."""
    prctl(PR_SET_DUMPABLE, 0)
    deaf_alone()


def forks_when_told_to_go() -> None:
    signal.signal(signal.SIGTERM, lambda *_: subprocess.Popen(SLEEPER, start_new_session=True))
    stay()


def runs_ahead() -> None:
    """Every process forks once more and ends: a snapshot of the tree is always out of date."""
    deaf()
    for _ in range(2000):
        if os.fork():
            os._exit(0)
        os.setsid()
        time.sleep(0.002)


def storm() -> None:
    """Processes that replace each other as fast as they can, forty at a time."""
    deaf()
    end = time.time() + 5

    def replace_each_other() -> None:
        os.setsid()
        while time.time() < end:
            if os.fork():
                os._exit(0)

    for _ in range(40):
        in_fork(replace_each_other)
    stay()


def many() -> None:
    def away() -> None:
        os.setsid()
        stay()

    deaf()
    for _ in range(200):
        in_fork(away)
    stay()


def threads() -> None:
    """Every thread has children of its own."""

    def work() -> None:
        subprocess.Popen(SLEEPER)
        stay()

    for _ in range(6):
        threading.Thread(target=work).start()


def misleading_name() -> None:
    """A name that reads like the fields behind it in /proc/<pid>/stat."""
    prctl(PR_SET_NAME, b") R 1 1 (x", 0, 0, 0)
    deaf_alone()


def closes_streams() -> None:
    for number in range(3):
        os.close(number)
    deaf_alone()


def short_children() -> None:
    end = time.time() + LIFE
    while time.time() < end:
        subprocess.run(["/bin/true"])  # noqa: PLW1510


def shares_pages() -> None:
    """Thirty MB that six forks share and do not write."""
    ballast = bytearray(b"x") * (30 << 20)
    for _ in range(6):
        in_fork(lambda: time.sleep(0.3))
    for _ in range(6):
        os.wait()
    print("ok", len(ballast))


def parts_pages() -> None:
    """The same, written: now each fork has its own."""
    ballast = bytearray(b"x") * (30 << 20)

    def write() -> None:
        for at in range(0, len(ballast), 4096):
            ballast[at] = 1
        time.sleep(20)

    for _ in range(6):
        in_fork(write)
    for _ in range(6):
        os.wait()


def leaks() -> None:
    pieces: list[bytearray] = []
    while len(pieces) < 400:
        pieces.append(bytearray(b"x") * 1_000_000)
        time.sleep(0.002)


def reads_mapped_file() -> None:
    """120 MB of a file's pages: resident, but nobody's anonymous memory."""
    import mmap
    import tempfile

    with tempfile.TemporaryFile(dir=".") as file:
        file.truncate(120 << 20)
        with mmap.mmap(file.fileno(), 120 << 20) as view:
            total = sum(view[at] for at in range(0, len(view), 4096))
            time.sleep(0.1)
    print("ok", total)


def leaves_odd_names() -> None:
    def odd(name: bytes) -> None:
        prctl(PR_SET_NAME, name, 0, 0, 0)
        time.sleep(0.4)

    for name in (b"\xff\xfe", b'a\nb"c\\', b"", b") S 1 (x", b",,,"):
        in_fork(partial(odd, name))
    time.sleep(0.05)


def burns() -> None:
    """0.15 s of processor time here, and as much in a child."""

    def burn() -> None:
        end = time.process_time() + 0.15
        while time.process_time() < end:
            pass

    in_fork(burn)
    os.wait()
    burn()


globals()[sys.argv[1]]()
