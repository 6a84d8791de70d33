"""The launcher itself under AddressSanitizer, UndefinedBehaviorSanitizer and valgrind.

Run through everything that it does: both ways of starting a command, streams of every kind and
size, limits, cancelling, what is left over, a full disk, a corrupt policy.
"""

import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.launcher_corpus import CORPUS, furnish
from tests.launcher_driver import (
    ROOT,
    Client,
    build_launcher,
    compile_c,
    event,
    remove_second_folder,
    start,
    wait_until,
)
from tests.sandbox import Sandbox

SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
STUBBORN = f"{sys.executable} -S {ROOT / 'tests/programs/stubborn.py'}"
# One of every kind; valgrind is slow.
FEW: list[str | bytes] = [
    "true",
    "/bin/echo a 'b c' \"d\"",
    "echo $HOME | cat",
    "nosuchprogram",
    "./noexec.sh",
    "./noshebang.sh a",
    "cat",
    "head -c 5",
    "exit 2",
    "kill -9 $$",
    "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
    b"/bin/echo \xff\xfe",
    'echo \'{"decision":"block"}\'',
    "",
]


@pytest.fixture
def sanitized(sandbox: Sandbox) -> Iterator[Client]:
    """Yield a client of a launcher that ends with a report at its first fault."""
    binary = build_launcher("launcher-asan", ("gcc",), SANITIZE)
    reports = sandbox.root / "reports"
    reports.mkdir()
    options = f"exitcode=99:log_path={reports}/report"
    extra = {"ASAN_OPTIONS": options, "UBSAN_OPTIONS": f"{options}:print_stacktrace=1"}
    yield Client(sandbox.state, sandbox.project, binary, extra=extra).install()
    remove_second_folder(str(sandbox.state))
    assert not [path.read_text() for path in reports.iterdir()]


@pytest.fixture
def checked(sandbox: Sandbox) -> Iterator[Client]:
    """Yield a client whose launcher runs under valgrind."""
    binary = build_launcher("launcher-valgrind", ("gcc",), ("-g", "-O1"))
    reports = sandbox.root / "reports"
    reports.mkdir()
    checker = (
        "valgrind -q --error-exitcode=99 --track-fds=no --leak-check=no"
        f" --log-file={reports}/%p.report"
    )
    yield Client(sandbox.state, sandbox.project, binary, checker=checker).install()
    texts = [path.read_text() for path in reports.iterdir()]
    assert texts, "valgrind did not run"
    assert not [text for text in texts if text]


def refresh(client: Client) -> None:
    shutil.rmtree(client.project)
    furnish(client.project)


def compare(client: Client, commands: list[str | bytes]) -> None:
    for command in commands:
        views = []
        for run in (client.bare, client.hook):
            refresh(client)
            finished = run(command)
            views.append((finished.status, finished.stdout, finished.stderr))
        # Death by its own signal reads differently behind any prefix.
        assert views[0] == views[1] or views[0][0] < 0, command


def enforce(client: Client) -> None:
    """Run into every limit, and out of it."""
    client.write_policy("event - * timeout_ms=600 memory_bytes=52428800 mode=enforce")
    for name in ("deaf_daemon", "stopped", "threads", "closes_streams", "runs_ahead"):
        status = client.hook(f"{STUBBORN} {name} mark & sleep 60").status
        assert status == 124, name
    client.write_policy("event - * timeout_ms=60000 memory_bytes=52428800 mode=enforce")
    assert client.hook(f"{STUBBORN} leaks mark").status == 125
    assert client.hook(f"{STUBBORN} shares_pages mark").status == 0
    client.write_policy("event - * timeout_ms=100 memory_bytes=1000000 mode=observe")
    assert client.hook(f"{STUBBORN} burns mark").status == 0


def cancel(client: Client) -> None:
    client.write_policy()
    for delay in (0.0, 0.05, 0.3):
        with client.start_hook(f"{STUBBORN} deaf_daemon mark") as running:
            time.sleep(delay)
            running.cancel()
            running.finish(event())
    starts, ends = client.spool().starts, client.spool().ends
    assert wait_until(lambda: len(client.spool().starts) == len(client.spool().ends)), (
        starts,
        ends,
    )


def leave(client: Client) -> None:
    client.write_policy()
    for command in ("(sleep 0.3; echo late) & echo now", "setsid -f sleep 0.3", "cat & sleep 0.1"):
        assert client.hook(command).status == 0
    assert client.hook(f"{STUBBORN} leaves_odd_names mark").status == 0


def disturb(client: Client) -> None:
    """Texts at their worst, a policy of noise, no state folder, odd surroundings."""
    worst = '"\\\u00e9\x01' * 2000
    text = event(tool_name=worst, tool_use_id=worst, prompt_id=worst, agent_id=worst)
    for stdin in (b"", b"{" * 5000, text, b"\0" * 70_000):
        client.hook("cat >/dev/null # " + "\u00e9\\\"'" * 700, stdin)
    client.hook("true", text * 30)
    for noise in (b"*" * 5000, bytes(range(256)) * 40, b"event - " + b"x" * 100_000):
        (client.state / "policy").write_bytes(noise)
        client.hook("exit 3")
    client.write_policy(*(f"match - *[a-{n}* timeout_ms={n}" for n in range(1, 200)))
    client.hook("exit 3")
    for state in ("/proc/none", "x" * 5000, ""):
        client.hook("exit 3", event(), BETTER_CLAUDE_STATE=state)
        remove_second_folder(state or str(client.state))
    client.hook("exit 3", event(), BETTER_CLAUDE_PREFIX="/usr/bin/env -i")
    client.hook("/bin/true", event(), PATH="x" * 5000)


def serve(client: Client) -> None:
    for command in ("cat", "cat 'a", "nosuchserver", "exec cat"):
        with client.start_server(command) as running:
            running.finish(b'{"jsonrpc":"2.0"}\n')
    environment = client.tool_environment()
    for command in ("eval 'exit 3' && pwd -P >| /dev/null", "eval 'sleep 0.1 & wait' pwd -P >| x"):
        with start([client.prefix, command], environment, client.project) as running:
            running.finish()


def without_room(client: Client) -> None:
    def before() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    for command in ("exit 3", "/bin/true"):
        argv = client.hook_argv(command)
        with start(argv, client.environment(), client.project, before=before) as running:
            running.finish(event())


@pytest.mark.parametrize("group", CORPUS)
def test_corpus_under_sanitizers(sanitized: Client, group: str) -> None:
    # Sanitizers answer in the environment too; what they print there is compared elsewhere.
    commands = CORPUS[group][:: 1 if group in ("exits", "bytes") else 4]
    compare(sanitized, commands if group not in ("environment", "process") else FEW)


@pytest.mark.parametrize("walk", [enforce, cancel, leave, disturb, serve, without_room])
def test_everything_else_under_sanitizers(sanitized: Client, walk: object) -> None:
    assert callable(walk)
    refresh(sanitized)
    walk(sanitized)


def test_sanitizers_are_in_force(sanitized: Client, tmp_path: Path) -> None:
    """The build under test is one that would have reported."""
    assert b"__asan_init" in sanitized.launcher.read_bytes()
    assert b"__ubsan_handle" in sanitized.launcher.read_bytes()


def test_commands_under_valgrind(checked: Client) -> None:
    compare(checked, [*FEW])


@pytest.mark.parametrize("walk", [enforce, leave, disturb])
def test_everything_else_under_valgrind(checked: Client, walk: object) -> None:
    assert callable(walk)
    refresh(checked)
    walk(checked)


def test_valgrind_is_in_force(checked: Client) -> None:
    """Valgrind sees a fault where there is one: a launcher that reads what was never written."""
    reports = checked.state.parent / "faults"
    reports.mkdir()
    flawed = checked.state.parent / "flawed.c"
    flawed.write_text(
        "#include <stdlib.h>\n"
        "int main(void) { volatile char *x = malloc(1); return x[1] ? 1 : 0; }\n"
    )
    binary = compile_c("flawed", flawed, flags=("-O0",))
    checker = checked.checker.replace("/reports/", "/faults/")
    done = replace(checked, checker=checker).bare(f"{checker} {binary}")
    assert done.status == 99
    checked.hook("true")
