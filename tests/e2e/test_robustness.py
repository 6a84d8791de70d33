"""What goes wrong around a session must never be felt in it."""

import os
import signal
from collections import Counter
from pathlib import Path

from tests.e2e.client import Client, Session, finish
from tests.e2e.messages_api import MessagesApi, Text, bash
from tests.e2e.ours import RUN, Json, Ours, wait_until
from tests.e2e.settings import handler, hooks, write_json
from tests.sandbox import Sandbox

HOOKS = hooks({"PreToolUse": [handler("cat >/dev/null")], "PostToolUse": [handler("true")]})


def test_the_service_is_killed_in_mid_session(ours: Ours, sandbox: Sandbox) -> None:
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    waiting = sandbox.root / "waiting"
    steps = (
        bash("echo one"),
        bash(f"touch {waiting}; while test -e {waiting}; do sleep 0.02; done"),
        bash("echo three"),
        Text("the end"),
    )
    with MessagesApi(steps) as api:
        process = Client(sandbox, api).start(through=RUN)
        assert wait_until(waiting.exists, 20)
        pid = ours.service_pid()
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not Path(f"/proc/{pid}").exists(), 5)
        waiting.unlink()
        session = finish(process)
    assert (session.returncode, session.answer) == (0, "the end")
    ours.ok("up")
    assert wait_until(lambda: len(ours.runs(session.ident)) >= 9, 10)
    runs = ours.runs(session.ident)
    assert Counter(run["mode"] for run in runs) == {"hook": 6, "tool": 3}
    assert len({run["run"] for run in runs}) == len(runs), "nothing lost, nothing twice"
    assert {run["outcome"] for run in runs} == {"ok"}


def test_the_launcher_is_killed_and_its_hook_does_not_stay(ours: Ours, sandbox: Sandbox) -> None:
    note = sandbox.root / "pids"
    hook = f"echo $PPID $$ >{note}; exec sleep 300"
    write_json(sandbox.home / ".claude/settings.json", hooks({"SessionStart": [handler(hook)]}))
    with MessagesApi([Text("the end")]) as api:
        process = Client(sandbox, api).start(through=RUN)
        assert wait_until(lambda: note.exists() and note.read_text().count(" ") == 1, 20)
        launcher, hooked = map(int, note.read_text().split())
        os.kill(launcher, signal.SIGKILL)
        session = finish(process)
    assert session.answer == "the end"
    assert wait_until(lambda: not Path(f"/proc/{hooked}").exists(), 10), "the service ends it"
    assert wait_until(lambda: bool(ours.runs(session.ident)), 5)
    assert [run["outcome"] for run in ours.runs(session.ident)] == ["lost"]


def test_no_room_for_our_state(ours: Ours, sandbox: Sandbox) -> None:
    """A file takes the spool's place in mid-session: commands run as if we were not there."""
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    spool = sandbox.paths.spools[0]
    steps = (
        bash(f"mv {spool} {spool}.away && touch {spool}"),
        bash("echo still here: $((40 + 2))"),
        Text("the end"),
    )
    with MessagesApi(steps) as api:
        session = Client(sandbox, api).run(through=RUN)
    assert (session.returncode, session.answer) == (0, "the end")
    assert api.heard("still here: 42")
    assert {hook.outcome for hook in session.hooks} == {"success"}


def _stored(ours: Ours, session: Session, count: int) -> list[Json]:
    wait_until(lambda: len(ours.runs(session.ident)) >= count, 10)
    return ours.runs(session.ident)


def test_ten_sessions_at_once(ours: Ours, sandbox: Sandbox) -> None:
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    steps = (bash("echo one"), bash("echo two"), Text("the end"))
    with MessagesApi(steps) as api:
        client = Client(sandbox, api)
        processes = [client.start(through=RUN) for _ in range(10)]
        sessions = [finish(process, 100) for process in processes]
    assert [session.answer for session in sessions] == ["the end"] * 10
    for session in sessions:
        runs = _stored(ours, session, 6)
        assert Counter(run["mode"] for run in runs) == {"hook": 4, "tool": 2}
        assert {run["outcome"] for run in runs} == {"ok"}
        assert len({run["claude_pid"] for run in runs}) == 1
