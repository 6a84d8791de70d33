"""The client as people use it, in a terminal, under `better-claude run`."""

from collections import Counter

from tests.e2e.client import Client
from tests.e2e.messages_api import MessagesApi, Text, bash
from tests.e2e.ours import RUN, Json, Ours, wait_until
from tests.e2e.settings import handler, hooks, write_json
from tests.e2e.terminal import interactive
from tests.sandbox import Sandbox

STEPS = (
    bash("echo first"),
    Text("FIRST ANSWER"),
    bash("echo second"),
    Text("SECOND ANSWER"),
)
STATUS_LINE = {"type": "command", "command": "cat >/dev/null; echo MY STATUS LINE"}


def test_a_conversation(ours: Ours, sandbox: Sandbox) -> None:
    settings = hooks(
        {
            "PreToolUse": [handler('cat >/dev/null; echo \'{"systemMessage": "HOOK SPOKE"}\'')],
            "Stop": [handler("true")],
        }
    )
    write_json(sandbox.home / ".claude/settings.json", settings | {"statusLine": STATUS_LINE})
    with (
        MessagesApi(STEPS) as api,
        interactive(Client(sandbox, api), through=RUN) as terminal,
    ):
        assert terminal.shows("MY STATUS LINE"), terminal.screen()
        terminal.type("hello")
        assert terminal.shows("FIRST ANSWER"), terminal.screen()
        terminal.type("again")
        assert terminal.shows("SECOND ANSWER"), terminal.screen()
        assert "HOOK SPOKE" in terminal.screen()
        terminal.type("/exit")
        assert terminal.ended(), terminal.screen()
    (session,) = [row["session"] for row in ours.rows("sessions")]

    def events() -> Counter[tuple[str, str]]:
        return Counter((run["mode"], run["event"]) for run in ours.runs(session))

    expected = {("hook", "PreToolUse"): 2, ("hook", "Stop"): 2, ("tool", ""): 2}
    assert wait_until(lambda: events().items() >= expected.items(), 5), events()
    # The client sends its status line through the prefix too; it names no event and has no limit.
    assert set(events()) <= {*expected, ("hook", "")}
    lines = [run for run in ours.runs(session) if (run["mode"], run["event"]) == ("hook", "")]
    assert {(run["command"], run["timeout_ms"]) for run in lines} == {(STATUS_LINE["command"], 0)}


def test_escape_cancels_the_running_hook(ours: Ours, sandbox: Sandbox) -> None:
    begun = sandbox.root / "begun"
    hook = f"echo $$ >{begun}; sleep 300"
    write_json(sandbox.home / ".claude/settings.json", hooks({"UserPromptSubmit": [handler(hook)]}))
    with (
        MessagesApi(STEPS) as api,
        interactive(Client(sandbox, api), through=RUN) as terminal,
    ):
        assert terminal.shows("\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"), (
            terminal.screen()
        )
        terminal.type("hello")
        assert wait_until(begun.exists, 20), terminal.screen()
        terminal.tmux("send-keys", "-t", "session", "Escape")

        def ended() -> list[Json]:
            return [row for row in ours.rows("runs") if row["kind"] == "run"]

        assert wait_until(lambda: bool(ended()), 8), terminal.screen()
        (run,) = ended()
        assert run["outcome"] == "cancelled"
        assert run["wall_ns"] < 9_000_000_000
        terminal.type("/exit")
