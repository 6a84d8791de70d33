"""One session under `better-claude run` with everything that a user may have configured."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.client import API_KEY, Client, Session
from tests.e2e.household import (
    CONTEXT_SECRET,
    ENVIRONMENT_SECRET,
    OUTPUT_SECRET,
    PROMPT_SECRET,
    SECRETS,
    SERVER_ARGUMENTS,
    STEPS,
    Household,
    furnish,
)
from tests.e2e.messages_api import MessagesApi
from tests.e2e.ours import RUN, Json, Ours, as_client_sees, client_view, opened, wait_until
from tests.sandbox import Sandbox, open_sandbox

from better_claude.model import fnv1a64

# SessionStart, UserPromptSubmit, two PreToolUse and one PostToolUse a tool call, Stop, SessionEnd.
HOOK_RUNS = 1 + 1 + 2 * 3 + 1 + 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """The session, as the client tells it and as we do."""

    sandbox: Sandbox
    house: Household
    api: MessagesApi
    session: Session
    ours: Ours
    runs: list[Json]
    visible_s: float

    def of_mode(self, mode: str) -> list[Json]:
        return [run for run in self.runs if run["mode"] == mode]


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with open_sandbox() as sandbox, opened(sandbox) as ours, MessagesApi(STEPS) as api:
        house = furnish(sandbox)
        session = Client(sandbox, api).run(
            f"{PROMPT_SECRET}: do what the script says",
            through=RUN,
            options=house.options,
            extra={"MY_TOKEN": ENVIRONMENT_SECRET},
        )
        ended = time.monotonic()
        wait_until(lambda: len(ours.runs(session.ident)) >= HOOK_RUNS + 1, 10)
        visible_s = time.monotonic() - ended
        runs = ours.runs(session.ident)
        yield Recorded(sandbox, house, api, session, ours, runs, visible_s)


def test_the_session_is_none_the_worse(recorded: Recorded) -> None:
    assert recorded.session.returncode == 0
    assert recorded.session.answer == "all done"
    assert recorded.api.heard(CONTEXT_SECRET), "a hook's JSON reaches the model"
    assert recorded.api.heard(OUTPUT_SECRET), "a tool's output reaches the model"
    assert recorded.api.heard(f"pong {json.dumps(SERVER_ARGUMENTS)}"), "arguments arrive whole"


def test_every_hook_of_every_scope_is_recorded(recorded: Recorded) -> None:
    expected = Counter(
        (event, command, fnv1a64(command.encode()))
        for event, commands in recorded.house.commands.items()
        for command in commands * (2 if event.endswith("ToolUse") else 1)
    )
    seen = Counter(
        (run["event"], run["command"], int(run["key"], 16)) for run in recorded.of_mode("hook")
    )
    assert seen == expected


def test_the_clients_own_view_is_ours(recorded: Recorded) -> None:
    theirs = Counter(
        (*client_view(hook), len(hook.stdout.encode()), len(hook.stderr.encode()))
        for hook in recorded.session.hooks
    )
    ours = Counter(
        (*as_client_sees(run), run["stdout_bytes"], run["stderr_bytes"])
        for run in recorded.of_mode("hook")
        if run["event"] != "SessionEnd"
    )
    assert ours == theirs


def test_runs_carry_the_ids_of_what_they_belong_to(recorded: Recorded) -> None:
    for run in recorded.runs:
        assert run["session"] == recorded.session.ident
        assert run["claude_pid"] > 0
    for run in recorded.of_mode("hook") + recorded.of_mode("tool"):
        assert run["wall_ns"] > 0, run
        assert run["user_ns"] + run["sys_ns"] > 0, run
    tool_hooks = [run for run in recorded.of_mode("hook") if run["event"].endswith("ToolUse")]
    assert Counter((run["tool"], run["tool_use"]) for run in tool_hooks) == {
        ("Bash", "toolu_0000"): 3,
        ("mcp__pinger__ping", "toolu_0001"): 3,
    }
    assert all(run["project"] == str(recorded.sandbox.project) for run in tool_hooks)
    assert len({run["prompt"] for run in tool_hooks}) == 1
    assert all(run["stdin_bytes"] > 100 for run in tool_hooks), "the event arrived"


def test_the_bash_tool_is_measured_and_not_limited(recorded: Recorded) -> None:
    (run,) = recorded.of_mode("tool")
    assert (run["outcome"], run["exit"], run["command"]) == ("ok", 0, "")
    assert run["key"] == f"{fnv1a64(b'Bash'):016x}"
    assert (run["timeout_ms"], run["event"]) == (0, "")


def test_the_server_is_recorded(recorded: Recorded) -> None:
    def servers() -> list[Json]:
        runs = recorded.ours.runs(recorded.session.ident)
        return [run for run in runs if run["mode"] == "server"]

    assert wait_until(lambda: bool(servers()), 10), "the service sees that it has ended"
    (run,) = servers()
    assert (run["command"], run["outcome"]) == (recorded.house.server_command, "ok")


def test_records_are_visible_within_a_second(recorded: Recorded) -> None:
    assert recorded.visible_s < 1.0 + 0.5, "one second, and two starts of the command itself"


def test_telemetry_arrives_with_the_scripted_usage(recorded: Recorded) -> None:
    def summary() -> Json:
        rows = recorded.ours.rows("sessions", "--session", recorded.session.ident)
        return next(row for row in rows if row["kind"] == "session")

    wait_until(lambda: summary()["api"]["calls"] >= len(STEPS), 10)
    row = summary()
    assert row["api"]["calls"] == len(recorded.api.requests)
    assert row["api"]["errors"] == 0
    assert row["input_tokens"] == sum(step.usage.input_tokens for step in STEPS)
    assert row["output_tokens"] == sum(step.usage.output_tokens for step in STEPS)
    assert row["cache_read_tokens"] == sum(step.usage.cache_read for step in STEPS)
    assert row["cache_creation_tokens"] == sum(step.usage.cache_creation for step in STEPS)
    assert (row["tools"]["calls"], row["tools"]["errors"]) == (2, 0)
    assert row["hook_runs"] == HOOK_RUNS
    assert row["project"] == str(recorded.sandbox.project)


def test_hooks_tells_each_hook_once(recorded: Recorded) -> None:
    rows = [row for row in recorded.ours.rows("hooks") if row["mode"] == "hook"]
    assert {(row["event"], row["command"]): row["runs"] for row in rows} == Counter(
        (run["event"], run["command"]) for run in recorded.of_mode("hook")
    )
    failing = [row for row in rows if row["failures"]]
    assert [row["event"] for row in failing] == ["PostToolUse"]


@pytest.mark.parametrize("verb", ["status", "hooks", "runs", "sessions"])
def test_people_get_a_table(recorded: Recorded, verb: str) -> None:
    assert len(recorded.ours.ok(verb).splitlines()) >= 2, "a head and a row"


def test_no_content_is_recorded(recorded: Recorded) -> None:
    folders = [recorded.sandbox.state, recorded.sandbox.paths.spools[1]]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"store.db", "store.db-wal"} <= names
    for path in files:
        _check_is_free_of_secrets(path)


def _check_is_free_of_secrets(path: Path) -> None:
    content = path.read_bytes()
    for secret in (*SECRETS, API_KEY):
        for encoding in ("utf-8", "utf-16-le"):
            assert secret.encode(encoding) not in content, f"{secret} stands in {path}"
