"""The lock has one owner, who can be asked for and who gives it back."""

import os
from pathlib import Path

from better_claude.collect import proc
from better_claude.service.lock import Owner, ServiceLock, lock_owner


def test_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    assert lock_owner(path) is None
    lock = ServiceLock.acquire(path)
    assert lock is not None
    stat = proc.read_stat(os.getpid())
    assert stat is not None
    assert lock_owner(path) == Owner(os.getpid(), stat.ticks)
    assert ServiceLock.acquire(path) is None
    lock.release()
    assert lock_owner(path) is None
    again = ServiceLock.acquire(path)
    assert again is not None
    again.release()


def test_a_lock_knows_whether_it_is_still_in_place(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    lock = ServiceLock.acquire(path)
    assert lock is not None
    assert lock.is_in_place()
    path.unlink()
    assert not lock.is_in_place()
    path.touch()
    assert not lock.is_in_place()
    lock.release()


def test_a_damaged_signature_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "service.lock"
    lock = ServiceLock.acquire(path)
    assert lock is not None
    path.write_text("rubbish")
    assert lock_owner(path) == Owner(0, 0)
    lock.release()
