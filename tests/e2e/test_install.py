"""Installed for good: every session of a settings file, and back to the byte."""

import json
import shlex
from pathlib import Path

import pytest
from tests.e2e.client import Client, Session
from tests.e2e.household import PLUGIN_COMMAND, furnish
from tests.e2e.household import STEPS as HOUSE_STEPS
from tests.e2e.messages_api import MessagesApi, Text, bash
from tests.e2e.ours import Json, Ours, wait_until
from tests.e2e.settings import handler, write_json, write_script
from tests.e2e.terminal import interactive
from tests.sandbox import Sandbox

STEPS = (bash("echo tool"), Text("the end"))
# Spelled as a person does, so that a rewrite from parsed JSON would show.
SETTINGS = """{
    "model": "opus",   "hooks": {
\t"PreToolUse": [ {"matcher": "Bash", "hooks": [{"type": "command", "command": "true"}]} ] },
    "env": { "EDITOR": "vi" }
}"""


def settings_file(sandbox: Sandbox, scope: str) -> Path:
    """Return the settings file of a scope."""
    return {
        "user": sandbox.home / ".claude/settings.json",
        "project": sandbox.project / ".claude/settings.json",
        "local": sandbox.project / ".claude/settings.local.json",
    }[scope]


def run_session(sandbox: Sandbox) -> Session:
    """Run a plain session, as after an install, and return what it left."""
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run()
    assert session.answer == "the end"
    return session


def stored(ours: Ours, session: Session, count: int) -> list[Json]:
    """Return a session's runs once there are as many as expected."""
    wait_until(lambda: len(ours.runs(session.ident)) >= count, 5)
    return ours.runs(session.ident)


@pytest.mark.parametrize("scope", ["user", "project", "local"])
def test_install_session_uninstall(ours: Ours, sandbox: Sandbox, scope: str) -> None:
    path = settings_file(sandbox, scope)
    path.parent.mkdir(parents=True)
    path.write_text(SETTINGS)
    ours.ok("install", "--scope", scope)
    assert path.read_text() != SETTINGS
    runs = stored(ours, run_session(sandbox), 2)
    assert sorted((run["mode"], run["outcome"]) for run in runs) == [("hook", "ok"), ("tool", "ok")]
    ours.ok("uninstall", "--scope", scope)
    assert path.read_text() == SETTINGS
    ours_after = len(ours.rows("runs"))
    run_session(sandbox)
    assert len(ours.rows("runs")) == ours_after, "nothing goes through us any more"


def test_telemetry_comes_with_the_installation(ours: Ours, sandbox: Sandbox) -> None:
    ours.ok("install", "--scope", "user")
    session = run_session(sandbox)

    def calls() -> int:
        rows = ours.rows("sessions", "--session", session.ident)
        return sum(int(row["api"]["calls"]) for row in rows if row["kind"] == "session")

    assert wait_until(lambda: calls() >= 2, 10)


def test_an_earlier_prefix_and_status_line_are_chained(ours: Ours, sandbox: Sandbox) -> None:
    log = sandbox.root / "earlier.log"
    note = f'printf "%s\\n" "$1" >>{shlex.quote(str(log))}'
    earlier = write_script(
        sandbox.root / "earlier.sh", f'#!/bin/sh\n{note}\nexec /bin/bash -c "$1"\n'
    )
    path = write_json(
        settings_file(sandbox, "user"),
        {
            "env": {"CLAUDE_CODE_SHELL_PREFIX": str(earlier)},
            "statusLine": {"type": "command", "command": "cat >/dev/null; echo MY STATUS LINE"},
            "hooks": {"PreToolUse": [{"hooks": [handler("echo from a hook")]}]},
        },
    )
    before = path.read_bytes()
    ours.ok("install", "--scope", "user")
    with (
        MessagesApi(STEPS) as api,
        interactive(Client(sandbox, api)) as terminal,
    ):
        assert terminal.shows("MY STATUS LINE"), terminal.screen()
        terminal.type("hello")
        assert terminal.shows("the end"), terminal.screen()
        terminal.type("/exit")
        assert terminal.ended(), terminal.screen()
    assert "echo from a hook" in log.read_text(), "the earlier prefix still gets every command"
    rows = ours.rows("runs")
    assert "echo from a hook" in {row.get("command") for row in rows}
    ours.ok("uninstall", "--scope", "user")
    assert path.read_bytes() == before


def test_an_uninstalled_package_leaves_a_launcher_that_passes_through(
    ours: Ours, sandbox: Sandbox
) -> None:
    """The state folder but for the launcher is gone, the service with it: commands still run."""
    ours.ok("install", "--scope", "user")
    ours.close()
    for file in sandbox.state.iterdir():
        if file.name != "bin" and file.is_file():
            file.unlink()
    (sandbox.state / "bin/start").unlink(missing_ok=True)
    session = run_session(sandbox)
    assert session.returncode == 0


def doctor(ours: Ours, status: int) -> list[Json]:
    """Return doctor's rows; ``status`` is 1 where it found an error."""
    done = ours.call("doctor", "--json")
    assert done.returncode == status, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_doctor_knows_what_the_client_would_run(ours: Ours, sandbox: Sandbox) -> None:
    house = furnish(sandbox)
    missing = str(sandbox.root / "missing.sh")
    path = settings_file(sandbox, "user")
    document = json.loads(path.read_text())
    document["hooks"]["PostToolUse"] = [{"hooks": [handler(missing, timeout=5000)]}]
    path.write_text(json.dumps(document))
    ours.ok("install", "--scope", "user")
    rows = doctor(ours, 1)
    errors = {
        (row["code"], row["command"])
        for row in rows
        if row["kind"] == "finding" and row["severity"] == "error"
    }
    assert errors == {("timeout-milliseconds", missing), ("script-missing", missing)}
    covered = {
        row["command"] for row in rows if row["kind"] == "configured_hook" and row["covered"]
    }
    with MessagesApi(HOUSE_STEPS) as api:
        session = Client(sandbox, api).run(options=house.options)
    ran = {run["command"] for run in stored(ours, session, 14) if run["mode"] == "hook"}
    # A plugin that is loaded from the command line is known to nobody but that process.
    assert ran - {PLUGIN_COMMAND} == covered


def test_doctor_puts_exec_form_hooks_under_the_launcher(ours: Ours, sandbox: Sandbox) -> None:
    escaping = {"type": "command", "command": "/bin/echo", "args": ["two words", "$HOME"]}
    document = {"hooks": {"PreToolUse": [{"hooks": [escaping]}]}}
    path = write_json(settings_file(sandbox, "user"), document)
    ours.ok("install", "--scope", "user")
    before = run_session(sandbox)
    assert "exec-form" in {row.get("code") for row in doctor(ours, 0)}
    ours.ok("doctor", "--fix")
    after = run_session(sandbox)
    assert before.hooks == after.hooks
    assert [hook.stdout for hook in after.hooks] == ["two words $HOME\n"]
    assert [run["mode"] for run in stored(ours, before, 1)] == ["tool"]
    assert sorted(run["mode"] for run in stored(ours, after, 2)) == ["hook", "tool"]
    ours.ok("uninstall", "--scope", "user")
    assert json.loads(path.read_text()) == document, "what was wrapped is unwrapped"


def test_a_launcher_that_is_gone_is_named_and_comes_back(ours: Ours, sandbox: Sandbox) -> None:
    ours.ok("install", "--scope", "user")
    sandbox.paths.launcher.unlink()
    assert "launcher-gone" in {row.get("code") for row in doctor(ours, 1)}
    ours.ok("install", "--scope", "user")
    session = run_session(sandbox)
    assert [run["outcome"] for run in stored(ours, session, 1)] == ["ok"]
