"""What a process was started for is told right, and tools and servers run as without us."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.launcher_corpus import furnish
from tests.launcher_driver import (
    PROMPT,
    RUN_VARIABLE,
    SECRET,
    SESSION,
    TOOL_USE,
    Client,
    event,
    hook_key,
    start,
)

from better_claude.model import Mode, Run, RunStart, fnv1a64

SHORT = "event - * timeout_ms=150 memory_bytes=52428800 mode=enforce"
OUTLIVES = "sleep 0.5; echo lived"
REQUEST = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}\n'

# A client in a process of its own: leads a session, and starts one child as it is told.
SESSION_LEADER = """
import json, os, subprocess, sys
os.setsid()
argv, environment, leader, stdin = json.loads(sys.argv[1])
if environment.get("CLAUDE_PID") == "self":
    environment["CLAUDE_PID"] = str(os.getpid())
child = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, start_new_session=leader)
out, err = child.communicate(stdin.encode())
sys.stdout.buffer.write(out)
sys.stderr.buffer.write(err)
sys.exit(child.returncode if child.returncode >= 0 else 128 - child.returncode)
"""


def from_session_leader(
    client: Client,
    argv: Sequence[str | bytes],
    environment: dict[str, str],
    *,
    leader: bool,
    stdin: bytes,
) -> subprocess.CompletedProcess[bytes]:
    """Start ``argv`` from a client that leads its own session; CLAUDE_PID "self" is that client."""
    words = [os.fsdecode(word) for word in argv]
    order = json.dumps([words, environment, leader, stdin.decode()])
    return subprocess.run(
        [sys.executable, "-c", SESSION_LEADER, order],
        cwd=client.project,
        capture_output=True,
        check=False,
        timeout=30,
    )


def the_start(client: Client) -> RunStart:
    (record,) = client.spool().starts
    return record


# --- hooks ------------------------------------------------------------------------------------


def test_hook_is_recorded_with_what_the_event_says(client: Client) -> None:
    command = "cat >/dev/null; exit 3"
    before = time.time_ns()
    finished = client.hook(command)
    start_record, end = the_start(client), client.last()
    assert end.mode == start_record.mode == Mode.HOOK
    assert end.run == start_record.run
    assert len(end.run) == 16 and int(end.run, 16) >= 0
    assert end.start_ns == start_record.start_ns
    assert before <= end.start_ns <= time.time_ns()
    assert 0 < end.wall_ns <= finished.wall_ns + 5_000_000
    assert end.key == start_record.key == hook_key(command)
    assert end.command == start_record.command == command
    assert end.claude_pid == start_record.claude_pid == os.getpid()
    assert end.session == start_record.session == SESSION
    assert end.project == start_record.project == str(client.project)
    assert (end.event, end.tool) == ("PreToolUse", "Bash")
    assert (end.prompt, end.tool_use) == (PROMPT, TOOL_USE)
    assert (end.exit, end.signal, end.outcome, end.exec) == (3, 0, "error", "shell")


def test_direct_execution_is_recorded(client: Client) -> None:
    client.hook("/bin/true")
    assert client.last().exec == "direct"


def test_agent_of_a_subagent_is_recorded(client: Client) -> None:
    client.hook("cat >/dev/null", event("SubagentStop", agent_id="agent-7", agent_type="x"))
    assert client.last().agent == "agent-7"


@pytest.mark.parametrize(
    ("text", "status", "outcome"),
    [
        ("", 0, "ok"),
        ("plain words", 0, "ok"),
        ("{}", 0, "ok"),
        ('{"decision":"approve"}', 0, "ok"),
        ('{"decision":"block","reason":"no"}', 0, "blocked"),
        (' {"reason" : "no" , "decision" : "block" } \n', 0, "blocked"),
        ('{"hookSpecificOutput":{"permissionDecision":"deny"}}', 0, "blocked"),
        ('{"hookSpecificOutput":{"permissionDecision":"allow"}}', 0, "ok"),
        ('{"hookSpecificOutput":{"permissionDecision":"ask"}}', 0, "ok"),
        ('{"hookSpecificOutput":{"additionalContext":"decision block deny"}}', 0, "ok"),
        ('{"systemMessage":"\\"decision\\":\\"block\\""}', 0, "ok"),
        ('{"tool":{"decision":"block"}}', 0, "ok"),
        ('{"decision":"block"', 0, "ok"),
        ('{"decision":"block"} trailing', 0, "ok"),
        ('{"decision":"block"}', 1, "error"),
        ("", 2, "blocked"),
        ('{"decision":"approve"}', 2, "blocked"),
        ("", 1, "error"),
        ("", 127, "error"),
    ],
)
def test_outcome(client: Client, text: str, status: int, outcome: str) -> None:
    finished = client.hook(f"printf %s {shlex.quote(text)}; exit {status}")
    assert (finished.status, finished.stdout) == (status, text.encode())
    assert client.last().outcome == outcome


@pytest.mark.parametrize("program", ["bash", "dash"])
def test_hook_whose_shell_became_the_launcher(client: Client, program: str) -> None:
    """A shell that executes its last command in its own place: the client itself is our parent."""
    line = b"exec " + os.fsencode(client.hook_argv("exit 4")[2])
    argv: list[str | bytes] = [f"/bin/{program}", "-c", line]
    with start(argv, client.environment(), client.project) as running:
        assert running.finish(event()).status == 4
    assert client.last().mode == Mode.HOOK
    assert client.last().event == "PreToolUse"


def test_hook_in_such_a_shape_is_limited(client: Client) -> None:
    client.write_policy(SHORT)
    argv: list[str | bytes] = ["/bin/bash", "-c", client.hook_argv("sleep 60; true")[2]]
    with start(argv, client.environment(), client.project) as running:
        assert running.finish(event()).status == 124


def test_hook_of_a_client_that_leads_its_session(client: Client) -> None:
    environment = client.environment(CLAUDE_PID="self")
    done = from_session_leader(
        client, client.hook_argv("exit 5"), environment, leader=True, stdin=event()
    )
    assert done.returncode == 5
    assert client.last().mode == Mode.HOOK


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("plain", "", "[1]"),
        ("with space", "", "[1]"),
        ("plain", " -x", "[2]"),
        ("with space", " -x", "[2]"),
    ],
)
def test_prefix_of_the_users_own(client: Client, name: str, options: str, expected: str) -> None:
    """An earlier prefix is called inside ours as the client would: a path, then options.

    Options are what follows the last " -".
    """
    prefix = client.project / name
    prefix.write_text('#!/bin/sh\necho "[$#]"\nfor last; do :; done\nexec sh -c "$last"\n')
    prefix.chmod(0o755)
    command = "echo 'in  ner'; exit 3"
    finished = client.hook(command, event(), BETTER_CLAUDE_PREFIX=f"{prefix}{options}")
    assert finished.stderr == b""
    assert finished.stdout == f"{expected}\nin  ner\n".encode()
    assert finished.status == 3
    assert client.last().command == command
    assert client.last().key == hook_key(command)


def test_off_switch(client: Client) -> None:
    client.write_policy(SHORT)
    finished = client.hook(OUTLIVES, event(), BETTER_CLAUDE_OFF="1")
    assert (finished.status, finished.stdout) == (0, b"lived\n")
    assert client.spool().records == ()


def test_hook_inside_a_hook(client: Client) -> None:
    """A client that was started by a hook measures its own hooks: two runs with two ids."""
    inner = shlex.join(str(os.fsdecode(word)) for word in client.hook_argv("exit 6"))
    finished = client.hook(f"CLAUDE_PID=$$ setsid -w {inner}")
    assert finished.status == 6
    ends = client.spool().ends
    assert len({end.run for end in ends}) == len(ends) == 2


# --- tools ------------------------------------------------------------------------------------

SNAPSHOT = "shopt -s expand_aliases\nalias hi='echo aliased'\ngreet() { echo greeting $1; }\n"


def tool_command(folder: Path, command: str) -> str:
    """Wrap a tool's command as the client does; ``folder`` holds the snapshot and the cwd file."""
    return (
        f"source {folder}/shell-snapshots/snapshot-bash-1795465894205-3uyybl.sh 2>/dev/null || true"
        " && { \\builtin shopt -u extglob || \\builtin setopt NO_EXTENDED_GLOB; }"
        " >/dev/null 2>&1 || true"
        f" && eval {shlex.quote(command)} < /dev/null && pwd -P >| {folder}/claude-8cc1-cwd"
    )


def run_tool(client: Client, argv: list[str], **more: str) -> tuple[int, bytes, bytes]:
    """Run a tool as the client does; return the status, its output file and the new folder."""
    output = client.state.parent / "tool.output"
    output.unlink(missing_ok=True)
    where = client.state.parent / "claude-8cc1-cwd"
    where.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    streams = [os.open(output, flags, 0o600) for _ in range(2)]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=streams[0],
            stderr=streams[1],
            env=client.tool_environment(**more),
            cwd=client.project,
            start_new_session=True,
            check=False,
            timeout=30,
        )
    finally:
        for stream in streams:
            os.close(stream)
    return done.returncode, output.read_bytes(), where.read_bytes() if where.exists() else b""


@pytest.fixture
def workshop(client: Client) -> Client:
    snapshots = client.state.parent / "shell-snapshots"
    snapshots.mkdir()
    (snapshots / "snapshot-bash-1795465894205-3uyybl.sh").write_text(SNAPSHOT)
    return client


TOOL_COMMANDS = [
    "true",
    "false",
    "exit 3",
    "hi",
    "greet you",
    "echo out; echo err >&2; echo out again; echo err again >&2",
    "cd sub",
    "cd /nonexistent",
    "cat",
    "cat a.txt b.txt | tac",
    "echo $0 $SHLVL $BASH_VERSION",
    "echo ${BASH_SOURCE[@]} $-",
    "[[ a == a* ]] && echo bash",
    "echo {a,b} $'tab\\there'",
    "diff <(echo a) <(echo b)",
    "nosuchprogram",
    "./noexec.sh",
    "./noshebang.sh",
    "kill -9 $$",
    "kill -TERM $$; sleep 1",
    "kill -ABRT $$",
    "seq 50000; seq 100 >&2",
    "sleep 0.05; echo late",
    "sleep 0.05 & echo background; wait",
    "env | grep -v BETTER_CLAUDE_RUN | sort",
    "test -t 0; test -f /dev/stdout; echo $?",
    "ls /proc/self/fd",
    "ps -o sid= -p $$ | tr -d ' ' | grep -qx $(ps -o pgid= -p $$ | tr -d ' ') && echo one group",
    "echo 'it'\"'\"'s'",
    "printf '\\377\\000'",
    "trap 'echo bye' EXIT; echo hi",
    "# nothing",
    "",
]


@pytest.mark.parametrize("command", TOOL_COMMANDS)
def test_tool_equals_bare(workshop: Client, command: str) -> None:
    text = tool_command(workshop.state.parent, command)
    views = []
    for argv in (["/bin/bash", "-c", text], [workshop.prefix, text]):
        shutil.rmtree(workshop.project)
        furnish(workshop.project)
        views.append(run_tool(workshop, argv))
    assert views[1] == views[0]


def test_tool_is_measured_and_never_named(workshop: Client) -> None:
    text = tool_command(
        workshop.state.parent, f"echo {SECRET}; sleep 0.03; seq 1000 | sort >/dev/null"
    )
    run_tool(workshop, [workshop.prefix, text])
    start_record, end = the_start(workshop), workshop.last()
    assert end.mode == start_record.mode == Mode.TOOL
    assert end.command == start_record.command == ""
    assert end.key == f"{fnv1a64(b'Bash'):016x}"
    assert end.wall_ns >= 30_000_000
    assert end.user_ns + end.sys_ns > 0
    assert (end.timeout_ms, end.memory_limit_bytes, end.breach) == (0, 0, "")
    assert end.session == SESSION
    assert end.claude_pid == os.getpid()


def test_tool_has_no_time_or_hook_memory_limit(workshop: Client) -> None:
    workshop.write_policy(SHORT)
    hungry = (
        f"{sys.executable} -c 'x = b\"x\" * (80 << 20); import time; time.sleep(0.4)'; echo lived"
    )
    status, output, _ = run_tool(
        workshop, [workshop.prefix, tool_command(workshop.state.parent, hungry)]
    )
    assert (status, output) == (0, b"lived\n")


def test_tool_run_in_the_background_outlives_its_shell(workshop: Client) -> None:
    """What a tool leaves behind lives on and can still write to the client's file."""
    text = tool_command(workshop.state.parent, "(sleep 0.2; echo late) & echo now")
    status, output, _ = run_tool(workshop, [workshop.prefix, text])
    assert (status, output) == (0, b"now\n")
    time.sleep(0.4)
    assert (workshop.state.parent / "tool.output").read_bytes() == b"now\nlate\n"


def test_tool_that_is_killed_leaves_as_the_bare_one(workshop: Client) -> None:
    """The client ends a tool by its group: nothing of it stays and the client sees the signal."""
    text = tool_command(workshop.state.parent, "sleep 60")
    for argv in (["/bin/bash", "-c", text], [workshop.prefix, text]):
        with start(argv, workshop.tool_environment(), workshop.project) as running:
            time.sleep(0.2)
            running.cancel()
            assert running.finish().status == -15
    assert workshop.last().outcome == "cancelled"


def test_tool_is_known_by_its_text_where_a_project_is_named(workshop: Client) -> None:
    """The user's own environment may name a project folder: a tool is no hook for that."""
    workshop.write_policy(SHORT)
    text = tool_command(workshop.state.parent, OUTLIVES)
    argv = [workshop.prefix, text]
    status, output, _ = run_tool(workshop, argv, CLAUDE_PROJECT_DIR=str(workshop.project))
    assert (status, output) == (0, b"lived\n")
    assert workshop.last().mode == Mode.TOOL
    assert workshop.last().command == ""


# --- servers ----------------------------------------------------------------------------------

ECHO_SERVER = """
import os, sys, time
time.sleep(0.5)
print(sys.argv[1:], sorted(k for k in os.environ if k != "BETTER_CLAUDE_RUN"), flush=True)
for line in sys.stdin:
    sys.stdout.write(line)
    sys.stdout.flush()
"""
SERVER_ARGUMENTS = ["a b", "$HOME", "it's", "*", "~", "", "#x", "é", 'q"q', "\\", "a=b"]


@pytest.fixture
def server(client: Client) -> str:
    """Return the command line of an MCP server as the client quotes it; limits would end it."""
    client.write_policy(SHORT)
    (client.project / "server.py").write_text(ECHO_SERVER)
    return shlex.join(["python3", str(client.project / "server.py"), *SERVER_ARGUMENTS])


def check_server(client: Client, stdout: bytes) -> None:
    lines = stdout.splitlines()
    assert lines[0].startswith(repr(SERVER_ARGUMENTS).encode())
    assert lines[1:] == [REQUEST.strip()]
    record = the_start(client)
    assert record.mode == Mode.SERVER
    assert client.spool().ends == ()


def test_server_is_recorded_and_becomes_the_server(client: Client, server: str) -> None:
    with client.start_server(server) as running:
        environ = Path(f"/proc/{running.process.pid}/environ")
        finished = running.finish(REQUEST)
    check_server(client, finished.stdout)
    record = the_start(client)
    assert not environ.exists()
    assert record.launcher_pid == running.process.pid
    assert record.launcher_ticks > 0
    assert record.key == hook_key(server)
    assert record.session == SESSION
    assert record.project == str(client.project)


def test_server_equals_one_without_prefix(client: Client, server: str) -> None:
    environment = client.server_environment()
    bare = start(shlex.split(server), environment, client.project, leader=False)
    with bare, client.start_server(server) as behind:
        assert bare.finish(REQUEST).stdout == behind.finish(REQUEST).stdout


@pytest.mark.parametrize("claude_pid", ["", "self", "1", "99999999", "nonsense"])
@pytest.mark.parametrize("leader", [False, True], ids=["same-session", "own-session"])
def test_server_of_a_client_that_leads_its_session(
    client: Client, server: str, claude_pid: str, leader: bool
) -> None:
    """Nested clients inherit a CLAUDE_PID; a client may lead its session, and so may its server."""
    environment = client.server_environment() | {"CLAUDE_PID": claude_pid}
    if not claude_pid:
        del environment["CLAUDE_PID"]
    done = from_session_leader(
        client, [client.prefix, server], environment, leader=leader, stdin=REQUEST
    )
    assert done.returncode == 0
    assert done.stderr == b""
    if leader and claude_pid == "self":
        # Just what a hook of an exec-optimising shell looks like: limits must wait for its stdin.
        assert done.stdout.splitlines()[1:] == [REQUEST.strip()]
        assert all(not isinstance(x, Run) or x.outcome == "ok" for x in client.spool().records)
    else:
        check_server(client, done.stdout)


def test_server_whose_first_message_is_late(client: Client, server: str) -> None:
    with client.start_server(server) as running:
        time.sleep(0.6)
        assert running.process.poll() is None
        check_server(client, running.finish(REQUEST).stdout)


def test_server_behind_a_shell_of_its_own(client: Client, server: str) -> None:
    """A server line with shell syntax goes through a shell, and is still never limited."""
    with client.start_server(f"exec {server} 2>/dev/null || exit 9") as running:
        check_server(client, running.finish(REQUEST).stdout)


def test_server_dies_with_its_signal(client: Client, server: str) -> None:
    with client.start_server(server) as running:
        time.sleep(0.2)
        running.process.terminate()
        assert running.finish().status == -15


def test_server_that_does_not_exist(client: Client) -> None:
    with client.start_server("nosuchserver --flag") as running:
        assert running.finish().status == 127


def test_server_is_not_a_hook_of_a_nested_client(client: Client, server: str) -> None:
    """A client inside a hook: its server inherits the run id and everything else of that hook."""
    environment = client.environment(CLAUDE_PID=str(os.getpid()), **{RUN_VARIABLE: "1" * 16})
    argv = [client.prefix, server]
    with start(argv, environment, client.project, leader=False) as running:
        check_server(client, running.finish(REQUEST).stdout)


# --- by hand ----------------------------------------------------------------------------------


def test_launcher_started_by_hand_only_runs_the_command(client: Client) -> None:
    """No client anywhere: the command runs, and nothing limits it."""
    client.write_policy(SHORT)
    environment = {"PATH": os.environ["PATH"], "BETTER_CLAUDE_STATE": str(client.state)}
    for leader in (False, True):
        argv = [client.prefix, OUTLIVES]
        with start(argv, environment, client.project, leader=leader) as running:
            finished = running.finish(event())
        assert (finished.status, finished.stdout) == (0, b"lived\n")


def test_launcher_called_by_a_script_inside_a_session_is_no_hook(client: Client) -> None:
    """The client is an ancestor, but nobody's hook: what people run themselves is not limited."""
    client.write_policy(SHORT)
    environment = client.environment(CLAUDE_PID=str(os.getpid()))
    done = from_session_leader(
        client, client.hook_argv(OUTLIVES), environment, leader=True, stdin=event()
    )
    assert (done.returncode, done.stdout) == (0, b"lived\n")


def test_several_arguments_are_executed_as_they_are(client: Client) -> None:
    """Not how the client calls us, but how a person would: no shell reads them a second time."""
    argv = [client.prefix, "/bin/echo", "a  b", "$HOME", "*"]
    with start(argv, client.environment(), client.project, leader=False) as running:
        assert running.finish().stdout == b"a  b $HOME *\n"


def test_no_argument_is_an_error_with_a_message(client: Client) -> None:
    with start([client.prefix], client.environment(), client.project) as running:
        finished = running.finish()
    assert finished.status not in (0, 124, 125)
    assert finished.stderr.startswith(b"usage: ")
