"""What we rely on in the client itself, without any of our own program.

When a new client version breaks one of these, the rest of the suite cannot be right either.
"""

import shlex
from pathlib import Path

import pytest
from tests.e2e.client import Client
from tests.e2e.household import CONTEXT_SECRET, OUTPUT_SECRET, SERVER_ARGUMENTS, STEPS, furnish
from tests.e2e.messages_api import MessagesApi, Text, bash
from tests.e2e.settings import handler, hooks, write_json, write_script
from tests.sandbox import Sandbox


@pytest.fixture
def log(sandbox: Sandbox) -> Path:
    return sandbox.root / "prefix.log"


@pytest.fixture
def prefix(sandbox: Sandbox, log: Path) -> Path:
    """A shell prefix that notes the one argument that it is given."""
    note = f"printf '%s|%s\\0' $# \"$1\" >>{shlex.quote(str(log))}"
    return write_script(sandbox.root / "prefix.sh", f'#!/bin/sh\n{note}\nexec /bin/bash -c "$1"\n')


def test_everything_in_shell_form_goes_through_the_prefix(
    sandbox: Sandbox, prefix: Path, log: Path
) -> None:
    house = furnish(sandbox)
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run(
            options=house.options, extra={"CLAUDE_CODE_SHELL_PREFIX": str(prefix)}
        )
    assert session.answer == "all done"
    seen = log.read_text().split("\0")[:-1]
    assert all(line.startswith("1|") for line in seen), "the command is one argument"
    commands = [line[2:] for line in seen]
    configured = [command for group in house.commands.values() for command in group]
    configured += house.commands["PreToolUse"] + house.commands["PostToolUse"]
    tools = [command for command in commands if command.startswith("source ")]
    assert len(tools) == 1
    assert "eval" in tools[0]
    servers = [command for command in commands if "server.py" in command]
    assert [shlex.split(command)[3:] for command in servers] == [SERVER_ARGUMENTS]
    hooks_seen = [command for command in commands if command not in tools + servers]
    assert sorted(hooks_seen) == sorted(configured)
    assert api.heard(CONTEXT_SECRET)
    assert api.heard(OUTPUT_SECRET)


def test_exec_form_escapes_the_prefix(sandbox: Sandbox, prefix: Path, log: Path) -> None:
    escaping = {"type": "command", "command": "/bin/echo", "args": ["exec form"]}
    write_json(sandbox.home / ".claude/settings.json", hooks({"PreToolUse": [escaping]}))
    with MessagesApi([bash("true"), Text()]) as api:
        session = Client(sandbox, api).run(extra={"CLAUDE_CODE_SHELL_PREFIX": str(prefix)})
    assert [hook.stdout for hook in session.of_event("PreToolUse")] == ["exec form\n"]
    assert "exec form" not in log.read_text()


def test_the_client_cancels_at_its_own_timeout_and_goes_on(sandbox: Sandbox) -> None:
    write_json(
        sandbox.home / ".claude/settings.json",
        hooks({"PreToolUse": [handler("exec sleep 60", timeout=1)]}),
    )
    with MessagesApi([bash("echo went on: $((40 + 2))"), Text()]) as api:
        session = Client(sandbox, api).run()
    assert [hook.outcome for hook in session.of_event("PreToolUse")] == ["cancelled"]
    assert api.heard("went on: 42")


@pytest.mark.parametrize(("code", "blocked"), [(1, False), (2, True), (124, False), (125, False)])
def test_only_exit_code_2_blocks(sandbox: Sandbox, code: int, blocked: bool) -> None:
    command = f"echo the reason >&2; exit {code}"
    write_json(sandbox.home / ".claude/settings.json", hooks({"PreToolUse": [handler(command)]}))
    with MessagesApi([bash("touch reached"), Text()]) as api:
        session = Client(sandbox, api).run()
    (view,) = session.of_event("PreToolUse")
    assert (view.exit_code, view.outcome, view.stderr) == (code, "error", "the reason\n")
    assert (sandbox.project / "reached").exists() is not blocked
    assert api.heard("the reason") is blocked
