"""Records and spool lines for tests, with every member that matters settable."""

import time
from typing import Any
from zlib import crc32

import msgspec

from better_claude.model import Mode, Outcome, Run, RunStart, fnv1a64

# 2026-01-01T00:00:00Z, a whole hour.
BEGIN_NS = 1_767_225_600_000_000_000
HOUR_NS = 3_600_000_000_000
MS = 1_000_000
COMMAND = "python3 ~/.claude/hooks/guard.py --strict"

_encode = msgspec.json.Encoder().encode


def key_of(command: str) -> str:
    return f"{fnv1a64(command.encode()):016x}"


def make_run(number: int = 1, **members: Any) -> Run:
    """Return a run whose id is ``number`` and which started so many seconds after BEGIN_NS."""
    command = members.setdefault("command", COMMAND)
    defaults: dict[str, Any] = {
        "run": f"{number:016x}",
        "start_ns": BEGIN_NS + number * 1_000_000_000,
        "wall_ns": 20 * MS,
        "mode": Mode.HOOK,
        "key": key_of(command),
        "outcome": Outcome.OK,
        "session": "s-1",
        "project": "/home/me/project",
        "event": "PreToolUse",
        "exit": 0,
    }
    return Run(**defaults | members)


def make_start(number: int = 1, **members: Any) -> RunStart:
    """Return the start of ``make_run(number)``."""
    command = members.setdefault("command", COMMAND)
    defaults: dict[str, Any] = {
        "run": f"{number:016x}",
        "start_ns": BEGIN_NS + number * 1_000_000_000,
        "mode": Mode.HOOK,
        "key": key_of(command),
        "launcher_pid": 1000 + number,
        "launcher_ticks": 5000 + number,
        "session": "s-1",
        "project": "/home/me/project",
        "event": "PreToolUse",
    }
    return RunStart(**defaults | members)


def framed(text: bytes) -> bytes:
    """Return one record as the launcher writes it."""
    return b"\n%s\t%08x\n" % (text, crc32(text))


def spool_line(record: Run | RunStart) -> bytes:
    return framed(_encode(record))


def spool_name(time_ns: int) -> str:
    return time.strftime("%Y%m%dT%H.spool", time.gmtime(time_ns // 1_000_000_000))
