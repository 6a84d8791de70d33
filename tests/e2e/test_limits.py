"""Hooks that misbehave, under the real client: what is stopped, what is told, what goes on."""

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from tests.e2e.client import Client, HookView, Session
from tests.e2e.messages_api import MessagesApi, Text, bash
from tests.e2e.ours import RUN, Json, Ours, as_client_sees, client_view, wait_until
from tests.e2e.settings import handler, hooks, write_json, write_script
from tests.sandbox import Sandbox

# The answer stands only in the tool's result, never in the call.
WENT_ON = "went on: 42"
STEPS = (bash("echo went on: $((40 + 2))"), Text("the end"))
# Deaf to SIGTERM, in a session of its own, double-forked: what killing a group always misses.
DAEMON = """
import os, signal, sys, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(sys.argv[1], "w") as file:
            file.write(str(os.getpid()))
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(300)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
print("the hook itself is done")
"""
LEAK = """
import time

kept = []
while True:
    kept.append(bytearray(b"x" * (1 << 20)))
    time.sleep(0.005)
"""


def session_with(
    ours: Ours, *handlers: Json, event: str = "PreToolUse"
) -> tuple[Session, MessagesApi]:
    """Run a session whose user has these handlers for one event."""
    write_json(ours.sandbox.home / ".claude/settings.json", hooks({event: list(handlers)}))
    with MessagesApi(STEPS) as api:
        session = Client(ours.sandbox, api).run(through=RUN)
    assert session.returncode == 0
    assert session.answer == "the end"
    return session, api


def only_run(ours: Ours, session: Session) -> Json:
    """Return the one hook run of a session, as soon as it is stored."""
    assert wait_until(lambda: bool(hook_runs(ours, session)), 5)
    (run,) = hook_runs(ours, session)
    return run


def hook_runs(ours: Ours, session: Session) -> list[Json]:
    """Return a session's hook runs, oldest first."""
    return [run for run in ours.runs(session.ident) if run["mode"] == "hook"]


def python(sandbox: Sandbox, name: str, text: str, *arguments: object) -> str:
    """Write a script and return the command line that runs it without a site or a cache."""
    script = write_script(sandbox.root / name, text)
    return shlex.join([sys.executable, "-IS", str(script), *map(str, arguments)])


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_hook_that_hangs_is_stopped_at_the_limit(ours: Ours) -> None:
    session, api = session_with(ours, handler("echo begun; sleep 300"))
    (view,) = session.of_event("PreToolUse")
    run = only_run(ours, session)
    assert (view.outcome, view.exit_code) == ("error", 124)
    assert client_view(view) == as_client_sees(run)
    assert (run["outcome"], run["breach"], run["timeout_ms"]) == ("timeout", "time", 2000)
    assert 2_000_000_000 <= run["wall_ns"] < 2_500_000_000
    assert view.stdout == "", "nothing half-written"
    _check_message(view, "2000 ms")
    assert api.heard(WENT_ON), "the session goes on"


def _check_message(view: HookView, limit: str) -> None:
    lines = view.stderr.splitlines()
    assert len(lines) == 1, "one clear line"
    assert "better-claude" in lines[0]
    assert limit in lines[0]


def test_a_hook_that_leaks_is_stopped_at_the_limit(ours: Ours) -> None:
    session, api = session_with(ours, handler(python(ours.sandbox, "leak.py", LEAK)))
    (view,) = session.of_event("PreToolUse")
    run = only_run(ours, session)
    assert (view.outcome, view.exit_code) == ("error", 125)
    assert client_view(view) == as_client_sees(run)
    assert (run["outcome"], run["breach"]) == ("over_memory", "memory")
    assert run["memory_limit_bytes"] == 50 << 20
    assert 50 << 20 < run["anon_peak_bytes"] < 60 << 20
    _check_message(view, "50 MB")
    assert api.heard(WENT_ON)


def test_a_daemon_goes_with_the_hook_that_is_stopped(ours: Ours) -> None:
    note = ours.sandbox.root / "daemon.pid"
    session, _ = session_with(ours, handler(python(ours.sandbox, "daemon.py", DAEMON, note, 300)))
    (view,) = session.of_event("PreToolUse")
    assert view.exit_code == 124
    assert not alive(int(note.read_text())), "deaf to SIGTERM, in a session of its own, and gone"
    run = only_run(ours, session)
    assert run["processes"] >= 2
    assert 0 < run["stop_ns"] < 1_000_000_000


def test_a_daemon_stays_where_the_hook_ended_by_itself(ours: Ours) -> None:
    note = ours.sandbox.root / "daemon.pid"
    session, _ = session_with(ours, handler(python(ours.sandbox, "daemon.py", DAEMON, note, 0)))
    pid = int(note.read_text())
    try:
        (view,) = session.of_event("PreToolUse")
        assert (view.outcome, view.stdout) == ("success", "the hook itself is done\n")
        run = only_run(ours, session)
        assert (run["outcome"], run["leftovers"]) == ("ok", 1)
        assert run["leftover_names"].startswith("python")
        assert alive(pid), "let go, as without us"
    finally:
        wait_until(lambda: not _kill(pid), 5)


def _kill(pid: int) -> bool:
    if alive(pid):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def test_a_deliberate_block_passes_through(ours: Ours) -> None:
    session, api = session_with(ours, handler("echo not on my watch >&2; exit 2"))
    (view,) = session.of_event("PreToolUse")
    run = only_run(ours, session)
    assert (view.exit_code, view.stderr) == (2, "not on my watch\n")
    assert client_view(view) == as_client_sees(run)
    assert (run["outcome"], run["exit"], run["breach"]) == ("blocked", 2, "")
    assert api.heard("not on my watch")
    assert not api.heard(WENT_ON)


def test_a_block_in_json_is_a_block(ours: Ours) -> None:
    decision = {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": "not in this house",
        }
    }
    session, api = session_with(ours, handler(f"echo {shlex.quote(json.dumps(decision))}"))
    run = only_run(ours, session)
    assert (run["outcome"], run["exit"]) == ("blocked", 0)
    assert api.heard("not in this house")
    assert not api.heard(WENT_ON)


def test_the_clients_own_shorter_timeout_is_a_cancelled_run(ours: Ours) -> None:
    note = ours.sandbox.root / "daemon.pid"
    command = python(ours.sandbox, "daemon.py", DAEMON, note, 300)
    session, api = session_with(ours, handler(command, timeout=1))
    (view,) = session.of_event("PreToolUse")
    assert view.outcome == "cancelled"
    run = only_run(ours, session)
    assert run["outcome"] == "cancelled"
    assert 900_000_000 < run["wall_ns"] < 1_900_000_000
    assert wait_until(lambda: not alive(int(note.read_text())), 1), "the whole tree went with it"
    assert api.heard(WENT_ON)


def test_a_background_hook_is_given_its_time(ours: Ours, sandbox: Sandbox) -> None:
    done = sandbox.root / "done"
    slow = f"cat >/dev/null; sleep 2.5; echo late >{done}"
    background = handler(slow, **{"async": True})
    write_json(sandbox.home / ".claude/settings.json", hooks({"PreToolUse": [background]}))
    waiting = bash(f"for i in $(seq 100); do test -e {done} && break; sleep 0.1; done")
    with MessagesApi([waiting, Text("the end")]) as api:
        session = Client(sandbox, api).run(through=RUN)
    assert done.exists(), "it is not held to the two seconds of its event"
    run = only_run(ours, session)
    assert (run["outcome"], run["breach"]) == ("ok", "")


def test_observe_lets_it_run_and_says_so(ours: Ours) -> None:
    contract = ours.sandbox.home / ".config/better-claude/contract.toml"
    contract.parent.mkdir(parents=True)
    contract.write_text('mode = "observe"\n[hook_timeouts]\nPreToolUse = "300ms"\n')
    session, _ = session_with(ours, handler("sleep 0.6; echo finished"))
    (view,) = session.of_event("PreToolUse")
    run = only_run(ours, session)
    assert (view.outcome, view.stdout, view.stderr) == ("success", "finished\n", "")
    assert (run["outcome"], run["breach"], run["enforcement"]) == ("ok", "time", "observe")
    assert run["timeout_ms"] == 300


def test_a_hook_with_terms_of_its_own(ours: Ours) -> None:
    contract = ours.sandbox.home / ".config/better-claude/contract.toml"
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook."slow.sh"]\ntimeout = "400ms"\n')
    slow = write_script(ours.sandbox.root / "slow.sh", "#!/bin/sh\nsleep 1\n")
    quick = write_script(ours.sandbox.root / "quick.sh", "#!/bin/sh\nsleep 1\n")
    session, _ = session_with(ours, handler(str(slow)), handler(str(quick)))
    wait_until(lambda: len(hook_runs(ours, session)) == 2, 5)
    assert {
        Path(run["command"]).name: (run["outcome"], run["timeout_ms"])
        for run in hook_runs(ours, session)
    } == {"slow.sh": ("timeout", 400), "quick.sh": ("ok", 2000)}


@pytest.mark.parametrize("event", ["SessionStart", "UserPromptSubmit"])
def test_what_a_hook_adds_reaches_the_model(ours: Ours, event: str) -> None:
    _, api = session_with(ours, handler("echo remember the milk"), event=event)
    assert api.heard("remember the milk")


def test_a_project_tightens_its_own_hooks_only(ours: Ours, sandbox: Sandbox) -> None:
    contract = sandbox.project / ".better-claude/contract.toml"
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook_timeouts]\nPreToolUse = "500ms"\nPostToolUse = "900s"\n')
    guard, slow = "sleep 0.8; echo the guard answers", "sleep 300"
    write_json(
        sandbox.home / ".claude/settings.json",
        hooks({"PreToolUse": [handler(guard)], "PostToolUse": [handler("true")]}),
    )
    write_json(sandbox.project / ".claude/settings.json", hooks({"PreToolUse": [handler(slow)]}))
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run(through=RUN)
    wait_until(lambda: len(hook_runs(ours, session)) == 3, 5)
    assert {
        run["command"]: (run["outcome"], run["timeout_ms"]) for run in hook_runs(ours, session)
    } == {
        slow: ("timeout", 500),
        # A cloned repository must not be able to stop the user's own guard.
        guard: ("ok", 2000),
        "true": ("ok", 5000),
    }
