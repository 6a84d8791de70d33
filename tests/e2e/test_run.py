"""`better-claude run`: one process under the contract, and nothing else anywhere."""

import json
import re
import shlex
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tests.e2e.client import Client, Session
from tests.e2e.messages_api import MessagesApi, Text, ToolUse, bash
from tests.e2e.ours import PROGRAM, RUN, Json, Ours, wait_until
from tests.e2e.settings import handler, hooks, write_json, write_script
from tests.sandbox import Sandbox

HOOKS = hooks({"PreToolUse": [handler("cat >/dev/null")], "PostToolUse": [handler("true")]})
STEPS = (bash("echo one"), Text("the end"))


def stored(ours: Ours, session: Session, count: int) -> list[Json]:
    """Return a session's runs once there are as many as expected."""
    wait_until(lambda: len(ours.runs(session.ident)) >= count, 5)
    return ours.runs(session.ident)


def test_nothing_changes_outside_the_state_folder(ours: Ours, sandbox: Sandbox) -> None:
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    write_json(sandbox.project / ".claude/settings.json", HOOKS)
    with MessagesApi(STEPS) as api:
        Client(sandbox, api).run()
        bare = _files(sandbox)
        session = Client(sandbox, api).run(through=RUN)
    assert len(stored(ours, session, 3)) == 3, "the client runs like hooks of two scopes once"
    ours.close()
    assert _files(sandbox).keys() == bare.keys()
    for name, content in _files(sandbox).items():
        if "settings" in name:
            assert content == bare[name]


def _files(sandbox: Sandbox) -> dict[str, bytes]:
    """Return the files of home and project; what names a session or a time is one name."""
    return {
        re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{5,}-?\w*", "ID", str(path)): path.read_bytes()
        for folder in (sandbox.home, sandbox.project)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_exit_codes_and_signals_pass_through(ours: Ours) -> None:
    assert ours.call("run", "--", "sh", "-c", "exit 7").returncode == 7
    assert ours.call("run", "--", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_the_users_own_settings_argument_still_holds(ours: Ours, sandbox: Sandbox) -> None:
    own = write_json(sandbox.root / "own.json", HOOKS)
    options = ("--settings", str(own), "--allowedTools", "Bash")
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run(through=RUN, options=options)
    modes = Counter(run["mode"] for run in stored(ours, session, 3))
    assert modes == {"hook": 2, "tool": 1}


@pytest.mark.parametrize("where", ["environment", "settings"])
def test_an_earlier_prefix_is_called_inside_ours(ours: Ours, sandbox: Sandbox, where: str) -> None:
    log = sandbox.root / "earlier.log"
    note = f'printf "%s\\n" "$1" >>{shlex.quote(str(log))}'
    earlier = write_script(
        sandbox.root / "earlier.sh", f'#!/bin/sh\n{note}\nexec /bin/bash -c "$1"\n'
    )
    variable = {"CLAUDE_CODE_SHELL_PREFIX": str(earlier)}
    in_settings = {"env": variable} if where == "settings" else {}
    write_json(sandbox.home / ".claude/settings.json", HOOKS | in_settings)
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run(
            through=RUN, extra=variable if where == "environment" else {}
        )
    assert {run["command"] for run in stored(ours, session, 3)} == {"cat >/dev/null", "true", ""}
    noted = log.read_text()
    assert "cat >/dev/null\n" in noted
    assert "eval" in noted, "the Bash tool's command as well"


def test_without_telemetry_only_processes_are_measured(ours: Ours, sandbox: Sandbox) -> None:
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    through = (*PROGRAM, "run", "--no-telemetry", "--")
    with MessagesApi(STEPS) as api:
        session = Client(sandbox, api).run(through=through)
    assert len(stored(ours, session, 3)) == 3
    (row,) = ours.rows("sessions", "--session", session.ident)
    assert row["api"]["calls"] == 0


def test_observe_for_one_process_only(ours: Ours, sandbox: Sandbox) -> None:
    slow = hooks({"Stop": [handler("sleep 0.8")]})
    write_json(sandbox.home / ".claude/settings.json", slow)
    with MessagesApi([Text("the end")]) as api:
        observed = Client(sandbox, api).run(through=(*PROGRAM, "run", "--mode", "observe", "--"))
        enforced = Client(sandbox, api).run(through=RUN)
    assert [(run["outcome"], run["breach"]) for run in stored(ours, observed, 1)] == [
        ("ok", "time")
    ]
    assert [run["outcome"] for run in stored(ours, enforced, 1)] == ["timeout"]


def test_a_subagents_hooks_carry_its_id(ours: Ours, sandbox: Sandbox) -> None:
    write_json(sandbox.home / ".claude/settings.json", HOOKS)
    call = {
        "description": "a scripted errand",
        "prompt": "ERRAND: do what the script says",
        "subagent_type": "general-purpose",
    }
    steps = (bash("echo one"), ToolUse("Task", call), Text("the end"))
    errand = {"ERRAND": (bash("echo two"), Text("errand done"))}
    with MessagesApi(steps, errand) as api:
        options = ("--allowedTools", "Bash", "Task")
        session = Client(sandbox, api).run(through=RUN, options=options)
    assert session.answer == "the end"
    stored(ours, session, 8)
    agents = {
        run["agent"]: run["tool"]
        for run in ours.runs(session.ident)
        if run["event"] == "PreToolUse" and run["agent"]
    }
    assert list(agents.values()) == ["Bash"]


class _Collector(BaseHTTPRequestHandler):
    """Notes the paths and sizes of what a user's own telemetry endpoint is sent."""

    bodies: list[tuple[str, str, Json]]

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.bodies.append((self.path, self.headers.get("x-team", ""), json.loads(body)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


@contextmanager
def collector() -> Iterator[tuple[str, list[tuple[str, str, Json]]]]:
    """Yield the address of a telemetry endpoint, and what it is sent."""
    bodies: list[tuple[str, str, Json]] = []
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Collector", (_Collector,), {"bodies": bodies})
    )
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    finally:
        server.shutdown()
        server.server_close()


def test_an_earlier_telemetry_endpoint_is_fed(ours: Ours, sandbox: Sandbox) -> None:
    with collector() as (address, bodies), MessagesApi(STEPS) as api:
        telemetry = {
            "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-team=a",
        }
        write_json(sandbox.home / ".claude/settings.json", HOOKS | {"env": telemetry})
        session = Client(sandbox, api).run(through=RUN)

        def paths() -> set[tuple[str, str]]:
            return {(path, team) for path, team, _ in bodies}

        expected = {("/v1/logs", "a"), ("/v1/metrics", "a")}
        assert wait_until(lambda: paths() >= expected, 10), paths()
    assert session.ident in json.dumps([body for _, _, body in bodies])
    rows = ours.rows("sessions", "--session", session.ident)
    assert [row["api"]["calls"] for row in rows] == [2]
