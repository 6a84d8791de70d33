"""A limit in force ends the whole tree, whatever the tree does about it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.launcher_driver import (
    ROOT,
    Client,
    Finished,
    Running,
    alive,
    compile_c,
    event,
    hook_key,
    processes,
    start,
    survivors,
    wait_until,
    write_policy,
)
from tests.namespaces import unshare

from better_claude.model import Run, RunStart

MB = 1 << 20
LIMIT_MS = 250
GRACE_MS = 100
# What a busy machine of two cores may add to a wait, in ns; the benches hold the real figures.
SLACK_NS = 1_500_000_000
LEAK = compile_c("leak", ROOT / "tests/programs/leak.c", flags=("-O2",))


def limits(
    event_name: str = "*",
    timeout_ms: int = LIMIT_MS,
    memory_bytes: int = 50 * MB,
    mode: str = "enforce",
) -> str:
    return f"event - {event_name} timeout_ms={timeout_ms} memory_bytes={memory_bytes} mode={mode}"


STUBBORN = ROOT / "tests/programs/stubborn.py"
NAMES = (
    "hang",
    "busy",
    "deaf_alone",
    "child",
    "deaf_child",
    "children",
    "grandchild_after_main",
    "double_fork",
    "setsid",
    "deaf_daemon",
    "daemon_without_streams",
    "stopped",
    "stopped_child",
    "empty_environment",
    "own_subreaper",
    "not_dumpable",
    "forks_when_told_to_go",
    "storm",
    "many",
    "threads",
    "misleading_name",
    "closes_streams",
    "short_children",
)


@pytest.fixture
def mark() -> Iterator[str]:
    """Yield a word by which a test's processes are known; none of them may survive it."""
    word = f"mark-{uuid.uuid4().hex}"
    yield word
    for pid in marked(word):
        os.kill(pid, signal.SIGKILL)


def marked(word: str) -> list[int]:
    """Return the living processes whose command line holds ``word``, shells included."""
    found = []
    for pid in processes():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line and alive(pid) and pid != os.getpid():
            found.append(pid)
    return found


def stubborn(name: str, mark: str = "") -> str:
    """Return the command line of one of the programs in stubborn.py."""
    return shlex.join([sys.executable, "-S", str(STUBBORN), name, mark])


def check_stopped(client: Client, finished: Finished, limit_ms: int = LIMIT_MS) -> Run:
    end = client.last()
    assert finished.status == 124
    assert finished.stdout == b""
    assert survivors(end.run) == []
    assert (end.outcome, end.breach, end.enforcement) == ("timeout", "time", "enforce")
    assert end.timeout_ms == limit_ms
    assert limit_ms * 1_000_000 <= end.wall_ns < (limit_ms + GRACE_MS) * 1_000_000 + SLACK_NS
    assert finished.wall_ns < (limit_ms + GRACE_MS) * 1_000_000 + SLACK_NS
    assert 0 < end.stop_ns < GRACE_MS * 1_000_000 + SLACK_NS
    return end


@pytest.mark.parametrize("name", NAMES)
def test_whole_tree_is_gone_at_the_limit(client: Client, mark: str, name: str) -> None:
    client.write_policy(limits(memory_bytes=4096 * MB))
    finished = client.hook(stubborn(name, mark))
    # At the very moment at which the client goes on.
    assert marked(mark) == []
    check_stopped(client, finished)


@pytest.mark.parametrize("name", ["deaf_alone", "deaf_daemon", "many"])
def test_whole_tree_is_gone_behind_a_shell(client: Client, mark: str, name: str) -> None:
    client.write_policy(limits(memory_bytes=4096 * MB))
    command = stubborn(name, mark)
    finished = client.hook(f"({command} | cat) & {command}; echo never")
    assert marked(mark) == []
    check_stopped(client, finished)


def test_tree_that_runs_ahead_behind_a_first_process_that_stays(client: Client, mark: str) -> None:
    client.write_policy(limits(timeout_ms=500))
    finished = client.hook(f"{stubborn('runs_ahead', mark)} & sleep 60; wait")
    assert marked(mark) == []
    check_stopped(client, finished, 500)


def test_what_was_half_written_never_arrives(client: Client) -> None:
    client.write_policy(limits())
    finished = client.hook("""printf '{"decision":"bl'; echo complaint >&2; sleep 60""")
    check_stopped(client, finished)
    assert b"complaint" in finished.stderr


def test_stderr_says_what_happened_in_one_line(client: Client, mark: str) -> None:
    """Which hook, which limit, what it used, and how to change it."""
    client.write_policy(limits("PreToolUse"))
    command = stubborn("hang", mark)
    finished = client.hook(command)
    lines = finished.stderr.decode().splitlines()
    assert len(lines) == 1
    line = lines[0]
    assert line.startswith("better-claude: ")
    assert "stubborn.py" in line
    assert "PreToolUse" in line
    assert re.search(rf"\b{LIMIT_MS} ?ms\b", line)
    assert "contract" in line
    assert len(line) < 600


def test_line_survives_odd_bytes_in_the_command(client: Client) -> None:
    """One line even for a command with line breaks, escapes and bytes that are no text."""
    client.write_policy(limits())
    finished = client.hook(b"sleep 60 # \xff\x1b[31m\n# more\r\n: \x07")
    check_stopped(client, finished)
    line = finished.stderr.removesuffix(b"\n")
    line.decode("utf-8")
    assert not re.search(rb"[\x00-\x1f\x7f]", line)


def test_streams_that_nobody_reads_do_not_delay_the_stop(client: Client) -> None:
    """A client that does not read, and a hook that writes all the time: ended on time."""
    client.write_policy(limits())
    with client.start_hook("yes; sleep 60") as running:
        assert running.process.wait(timeout=10) == 124
    assert client.last().outcome == "timeout"


def test_output_without_end_is_ended(client: Client) -> None:
    client.write_policy(limits())
    finished = client.hook("yes >&2 & yes")
    end = client.last()
    assert (finished.status, end.outcome) == (124, "timeout")
    assert survivors(end.run) == []


def test_stdin_that_never_ends_does_not_delay_the_stop(client: Client) -> None:
    client.write_policy(limits())
    with client.start_hook("cat >/dev/null") as running:
        assert running.process.wait(timeout=10) == 124
    assert client.last().timeout_ms == LIMIT_MS


# --- which limit ------------------------------------------------------------------------------


def test_limit_is_the_events(client: Client) -> None:
    client.write_policy(limits("Stop", 120), limits("PostToolUse", 60_000), limits("*", 240))
    for name, expected in (("Stop", 120), ("SessionStart", 240), ("FutureEvent", 240)):
        client.forget()
        finished = client.hook("sleep 20", event(name))
        assert check_stopped(client, finished, expected).event == name
    client.forget()
    assert client.hook("sleep 0.4", event("PostToolUse")).status == 0
    assert client.last().timeout_ms == 60_000


def test_built_in_limits_without_a_policy(client: Client) -> None:
    (client.state / "policy").unlink()
    expected = {
        "PreToolUse": 2000,
        "PostToolUse": 5000,
        "UserPromptSubmit": 10_000,
        "Notification": 1000,
        "Stop": 500,
        "SubagentStop": 500,
        "SessionStart": 60_000,
        "Whatever": 60_000,
    }
    for name, timeout_ms in expected.items():
        client.forget()
        client.hook("cat >/dev/null", event(name))
        end = client.last()
        assert (end.timeout_ms, end.memory_limit_bytes) == (timeout_ms, 50 * MB)
        assert end.enforcement == "enforce"


def test_built_in_limit_is_enforced(client: Client, mark: str) -> None:
    (client.state / "policy").unlink()
    finished = client.hook(stubborn("deaf_alone", mark), event("Stop"))
    check_stopped(client, finished, 500)
    assert marked(mark) == []


def test_event_that_arrives_late_still_counts_from_the_start(client: Client) -> None:
    client.write_policy(limits("Stop", 300), limits("*", 60_000))
    with client.start_hook("sleep 20") as running:
        time.sleep(0.2)
        finished = running.finish(event("Stop"))
    check_stopped(client, finished, 300)


def test_event_without_text_has_the_default(client: Client) -> None:
    client.write_policy(limits("PreToolUse", 60_000), limits("*", LIMIT_MS))
    finished = client.hook("sleep 20", b"no json")
    assert check_stopped(client, finished).event == ""


def test_event_name_deep_in_tool_input_is_not_the_events(client: Client) -> None:
    client.write_policy(limits("Stop", 60_000), limits("PreToolUse", LIMIT_MS), limits("*", 60_000))
    text = event(tool_input={"hook_event_name": "Stop", "x": [{"hook_event_name": "Stop"}]})
    assert check_stopped(client, client.hook("sleep 20", text)).event == "PreToolUse"


@pytest.mark.parametrize(
    "statement",
    [
        "hook - {key} timeout_ms={limit}",
        "match - *sleep* timeout_ms={limit}",
        "match - sleep%2020;%20true timeout_ms={limit}",
        "event {project} PreToolUse timeout_ms={limit}",
        "hook {project} {key} timeout_ms={limit}",
        "match {project} *sleep* timeout_ms={limit}",
    ],
)
def test_narrower_statements(client: Client, statement: str) -> None:
    command = "sleep 20; true"
    text = statement.format(key=hook_key(command), project=hook_key(str(client.project)), limit=180)
    client.write_policy(limits("*", 60_000), text)
    check_stopped(client, client.hook(command), 180)


@pytest.mark.parametrize(
    "statement",
    [
        "hook {project} {key} timeout_ms=60000 memory_bytes=99999999999 mode=observe",
        "match {project} * timeout_ms=60000 memory_bytes=99999999999 mode=observe",
    ],
)
def test_project_never_loosens_a_hook(client: Client, statement: str) -> None:
    """A cloned repository is untrusted: its lines over hooks only tighten."""
    command = "sleep 20; true"
    text = statement.format(key=hook_key(command), project=hook_key(str(client.project)))
    client.write_policy(limits(), text)
    end = check_stopped(client, client.hook(command))
    assert end.memory_limit_bytes == 50 * MB


def test_hook_that_says_it_is_async_gets_the_background_limit(client: Client) -> None:
    """The client reads that line and goes on; the hook may take longer, and its line streams."""
    write_policy(
        client.state / "policy", "global grace_ms=100 autostart=0 background_ms=900", limits()
    )
    command = """echo '{"async":true}'; sleep 0.5; echo more; sleep 20"""
    with client.start_hook(command) as running:
        assert running.stdout is not None
        running.stdout.settimeout(0.25)
        assert running.stdout.recv(100) == b'{"async":true}\n'
        finished = running.finish(event())
    assert (finished.status, finished.stdout) == (124, b"more\n")
    assert (client.last().timeout_ms, client.last().outcome) == (900, "timeout")


def test_statements_of_another_project_or_hook_do_not_count(client: Client) -> None:
    client.write_policy(
        limits("*", 60_000),
        "event 0123456789abcdef * timeout_ms=100",
        "hook - 0123456789abcdef timeout_ms=100",
        "match - *nothing* timeout_ms=100",
        "match 0123456789abcdef * timeout_ms=100",
    )
    assert client.hook("sleep 0.3").status == 0


def test_long_limit_beyond_32_bits(client: Client) -> None:
    client.write_policy(limits("*", 5_000_000_000, 1 << 45))
    assert client.hook("echo fine").stdout == b"fine\n"
    assert client.last().timeout_ms == 5_000_000_000


# --- grace ------------------------------------------------------------------------------------


def test_hook_that_heeds_sigterm_cleans_up_and_is_not_killed(client: Client) -> None:
    client.write_policy(limits(), grace_ms=2000)
    finished = client.hook("trap 'echo cleaned >trace; exit 0' TERM; sleep 60 & wait")
    end = check_stopped(client, finished)
    assert (client.project / "trace").read_text() == "cleaned\n"
    assert end.stop_ns < 2_000_000_000


def test_stopped_hook_is_woken_to_clean_up(client: Client) -> None:
    client.write_policy(limits(), grace_ms=2000)
    finished = client.hook("trap 'echo cleaned >trace; exit 0' TERM; kill -STOP $$; sleep 60")
    check_stopped(client, finished)
    assert (client.project / "trace").read_text() == "cleaned\n"


@pytest.mark.parametrize("grace_ms", [50, 400])
def test_grace_is_kept_before_the_kill(client: Client, mark: str, grace_ms: int) -> None:
    client.write_policy(limits(), grace_ms=grace_ms)
    finished = client.hook(stubborn("deaf_alone", mark))
    end = client.last()
    assert finished.status == 124
    assert grace_ms * 1_000_000 <= end.stop_ns < grace_ms * 1_000_000 + SLACK_NS
    assert (end.exit, end.signal) == (-1, signal.SIGKILL)


def test_stopped_process_gets_no_grace_it_cannot_use(client: Client, mark: str) -> None:
    """A stopped process is woken to hear SIGTERM, or killed: it never holds up the stop."""
    client.write_policy(limits(), grace_ms=100)
    finished = client.hook(stubborn("stopped", mark))
    check_stopped(client, finished)


# --- memory -----------------------------------------------------------------------------------


def check_over_memory(client: Client, finished: Finished, limit: int = 50 * MB) -> Run:
    end = client.last()
    assert finished.status == 125
    assert finished.stdout == b""
    assert survivors(end.run) == []
    assert (end.outcome, end.breach) == ("over_memory", "memory")
    assert end.memory_limit_bytes == limit
    assert end.anon_source in ("statm", "cgroup")
    assert limit < end.anon_peak_bytes < limit + 60 * MB
    assert end.stop_ns > 0
    return end


@pytest.mark.parametrize("pace", [50, 500])
def test_leak_is_stopped(client: Client, pace: int) -> None:
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(f"{LEAK} {pace} 2000 20")
    check_over_memory(client, finished)
    (line,) = finished.stderr.decode().splitlines()
    assert line.startswith("better-claude: ")
    assert re.search(r"\b50 ?MB\b", line)
    assert "contract" in line


def test_leak_in_python_is_stopped(client: Client) -> None:
    client.write_policy(limits(timeout_ms=20_000))
    check_over_memory(client, client.hook(stubborn("leaks")))


def test_leak_in_a_grandchild_is_stopped(client: Client) -> None:
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(f"setsid -f sh -c '{LEAK} 200 2000 20; true'; sleep 20; echo never")
    check_over_memory(client, finished)


def test_memory_is_the_trees_and_not_one_process(client: Client) -> None:
    """Four processes of 20 MB are one hook of 80 MB."""
    client.write_policy(limits(timeout_ms=20_000))
    each = f"{LEAK} 400 20 20 &"
    finished = client.hook(f"{each} {each} {each} {each} wait")
    check_over_memory(client, finished)


def test_leak_that_ignores_sigterm_goes_on_only_for_the_grace(client: Client) -> None:
    """Memory has no patience: what cannot stop growing is killed, and the overshoot stays small."""
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(f"trap '' TERM; {LEAK} 300 3000 20")
    end = client.last()
    assert finished.status == 125
    assert survivors(end.run) == []


def test_honest_hooks_are_not_stopped(client: Client) -> None:
    """Runtimes map much and use little: what counts is anonymous memory, and 50 MB do."""
    client.write_policy(limits(timeout_ms=20_000))
    script = "import json, re, subprocess, urllib.request, email, http.server, asyncio; print('ok')"
    commands = [shlex.join([sys.executable, "-c", script])]
    commands += ["node -e 'console.log(\"ok\"); setTimeout(() => {}, 100)'"]
    commands += ["perl -e 'print \"ok\\n\"'", "bash -c 'echo ok'"]
    for command in commands:
        client.forget()
        finished = client.hook(command)
        assert (finished.status, finished.stdout) == (0, b"ok\n"), command
        assert client.last().anon_peak_bytes < 50 * MB


def test_forked_pages_count_once(client: Client) -> None:
    """What a fork shares is charged once, as a memory cgroup does: worker pools are no leak."""
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(stubborn("shares_pages"))
    assert (finished.status, finished.stdout, finished.stderr) == (0, b"ok 31457280\n", b"")
    assert client.last().breach == ""
    assert client.last().anon_peak_bytes < 50 * MB


def test_forked_pages_that_are_written_count(client: Client) -> None:
    """Once a fork's pages part, they are its own: six times 30 MB are over the limit."""
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(stubborn("parts_pages"))
    # Six processes together write some GB/s: how far they come is not what is asked here.
    end = client.last()
    assert (finished.status, end.breach, end.outcome) == (125, "memory", "over_memory")
    assert survivors(end.run) == []


def test_file_memory_does_not_count(client: Client) -> None:
    client.write_policy(limits(timeout_ms=20_000))
    finished = client.hook(stubborn("reads_mapped_file"))
    assert (finished.status, finished.stdout) == (0, b"ok 0\n")


def test_peak_memory_is_recorded(client: Client) -> None:
    client.hook(f"{LEAK} 2000 30 0.2")
    end = client.last()
    assert 30 * MB < end.anon_peak_bytes < 36 * MB
    assert end.rss_peak_bytes > 30 * MB
    assert end.anon_source in ("statm", "cgroup")


def test_rss_peak_is_not_the_parents(client: Client) -> None:
    """The child of a parent of 200 MB would read 200 MB in ru_maxrss after a plain fork."""
    ballast = bytearray(b"x") * (200 * MB)
    client.hook("/bin/true")
    assert client.last().rss_peak_bytes < 20 * MB
    del ballast


# --- observe ----------------------------------------------------------------------------------


def test_observed_time_limit_is_only_recorded(client: Client) -> None:
    client.write_policy(limits(mode="observe"))
    finished = client.hook("echo begun; sleep 0.5; echo lived; exit 2")
    assert (finished.status, finished.stdout, finished.stderr) == (2, b"begun\nlived\n", b"")
    end = client.last()
    assert (end.outcome, end.breach, end.enforcement) == ("blocked", "time", "observe")
    assert (end.timeout_ms, end.stop_ns) == (LIMIT_MS, 0)


def test_observed_memory_limit_is_only_recorded(client: Client) -> None:
    client.write_policy(limits(timeout_ms=20_000, mode="observe"))
    finished = client.hook(f"{LEAK} 1000 80 0.1")
    assert (finished.status, finished.stdout, finished.stderr) == (0, b"leaked it all\n", b"")
    end = client.last()
    assert (end.outcome, end.breach, end.enforcement) == ("ok", "memory", "observe")
    assert end.anon_peak_bytes > 80 * MB


def test_one_hook_observed_while_others_are_held(client: Client) -> None:
    command = "sleep 0.4; true"
    client.write_policy(limits(), f"hook - {hook_key(command)} mode=observe")
    assert client.hook(command).status == 0
    client.forget()
    assert client.hook("sleep 20; true").status == 124


def test_what_was_published_meanwhile_counts_at_the_limit(client: Client) -> None:
    command = "sleep 0.6; echo lived"
    client.write_policy(limits())
    publish = threading.Timer(
        0.1,
        client.write_policy,
        (limits(), f"match - {command.replace(' ', '%20')} timeout_ms=5000"),
    )
    publish.start()
    finished = client.hook(command)
    publish.join()
    assert (finished.status, finished.stdout) == (0, b"lived\n")
    assert client.last().timeout_ms == 5000


# --- just in time -----------------------------------------------------------------------------


def test_hook_that_ends_just_before_its_limit_is_not_stopped(client: Client) -> None:
    client.write_policy(limits(timeout_ms=1500))
    finished = client.hook("sleep 0.7; echo done")
    assert (finished.status, finished.stdout) == (0, b"done\n")
    assert client.last().breach == ""


def test_end_at_the_very_limit_is_one_thing_or_the_other(client: Client) -> None:
    """Runs that end within a millisecond of their limit: every one is consistent in itself."""
    for index in range(20):
        client.write_policy(limits(timeout_ms=60 + index % 5))
        client.forget()
        finished = client.hook("sleep 0.06; echo done")
        end = client.last()
        stopped = (124, b"", "timeout", "time")
        passed = (0, b"done\n", "ok", "")
        assert (finished.status, finished.stdout, end.outcome, end.breach) in (stopped, passed)
        assert survivors(end.run) == []


# --- cancelled, killed, left over ---------------------------------------------------------------


def wait_for_start(client: Client) -> RunStart:
    assert wait_until(lambda: client.spool().starts)
    return client.spool().starts[0]


@pytest.mark.parametrize("name", ["hang", "deaf_alone", "deaf_daemon", "stopped", "many"])
def test_cancelled_run_takes_its_tree_with_it(client: Client, mark: str, name: str) -> None:
    client.write_policy(limits(timeout_ms=60_000, memory_bytes=4096 * MB))
    with client.start_hook(stubborn(name, mark)) as running:
        record = wait_for_start(client)
        assert wait_until(lambda: len(marked(mark)) > 2)
        time.sleep(0.15)
        running.cancel()
        assert running.finish(event()).status == -signal.SIGTERM
    assert wait_until(lambda: client.spool().ends, 3)
    assert wait_until(lambda: not marked(mark), 1)
    assert survivors(record.run) == []
    assert client.last().outcome == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_cancel_too(client: Client, mark: str, number: int) -> None:
    with client.start_hook(stubborn("deaf_alone", mark)) as running:
        wait_for_start(client)
        assert wait_until(lambda: marked(mark))
        running.cancel(number)
        running.finish(event())
    assert wait_until(lambda: client.spool().ends, 3)
    assert wait_until(lambda: not marked(mark), 1)
    assert client.last().outcome == "cancelled"


def test_cancelled_before_the_event_arrived(client: Client) -> None:
    with client.start_hook("cat; sleep 60") as running:
        wait_for_start(client)
        running.cancel()
        assert running.process.wait(timeout=10) == -signal.SIGTERM
    assert wait_until(lambda: client.spool().ends, 3)
    assert client.last().outcome == "cancelled"


def test_cancelled_hook_loses_nothing_it_wrote(client: Client) -> None:
    """Without us it would have been written at once; it still arrives."""
    with client.start_hook("echo half; echo complaint >&2; touch wrote; sleep 60") as running:
        assert wait_until((client.project / "wrote").exists)
        running.cancel()
        running.process.wait(timeout=10)
        assert running.stdout is not None and running.stderr is not None
        for stream, text in ((running.stdout, b"half\n"), (running.stderr, b"complaint\n")):
            stream.settimeout(3)
            assert stream.recv(100) == text


def test_cancelled_while_it_is_being_stopped(client: Client, mark: str) -> None:
    client.write_policy(limits(), grace_ms=600)
    with client.start_hook(stubborn("deaf_alone", mark)) as running:
        time.sleep(0.45)
        running.cancel()
        running.finish(event())
    assert wait_until(lambda: client.spool().ends, 3)
    assert wait_until(lambda: not marked(mark), 1)
    assert client.last().outcome in ("timeout", "cancelled")


def test_cancelled_in_its_first_milliseconds(client: Client, mark: str) -> None:
    """SIGTERM at any moment of the launcher's start: never a survivor."""
    command = stubborn("deaf_alone", mark)
    for delay in (0, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01):
        with client.start_hook(command) as running:
            time.sleep(delay)
            running.cancel()
            running.finish(event())
        assert wait_until(lambda: not marked(mark), 3), delay
    assert wait_until(lambda: len(client.spool().starts) == len(client.spool().ends), 3)


def launcher_of(running: Running) -> int:
    """Return the launcher's process id: the child of the client's shell."""
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    assert wait_until(lambda: children.read_text().split())
    return int(children.read_text().split()[0])


def test_killed_launcher_leaves_a_start_and_marked_children(client: Client, mark: str) -> None:
    """What the service needs to end what a killed launcher left."""
    with client.start_hook(stubborn("deaf_child", mark)) as running:
        record = wait_for_start(client)
        launcher = launcher_of(running)
        assert record.launcher_pid == launcher
        stat = Path(f"/proc/{launcher}/stat").read_text()
        assert record.launcher_ticks == int(stat.rpartition(")")[2].split()[19])
        # The shell, the launcher, the hook and its child.
        assert wait_until(lambda: len(marked(mark)) >= 4)
        os.kill(launcher, signal.SIGKILL)
        assert running.finish(event()).status == 137
    assert client.spool().ends == ()
    left = survivors(record.run)
    assert len(left) >= 1
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def test_left_over_process_lives_and_can_still_write(client: Client) -> None:
    command = "(sleep 0.4; echo late; echo $? >rc) & echo now"
    with client.start_hook(command) as running:
        finished = running.finish(event())
        assert (finished.status, finished.stdout) == (0, b"now\n")
        assert finished.wall_ns < 300_000_000
        end = client.last()
        assert end.outcome == "ok"
        assert end.leftovers >= 1
        assert "sh" in end.leftover_names.split(",") or "sleep" in end.leftover_names.split(",")
        assert running.stdout is not None
        running.stdout.setblocking(True)
        running.stdout.settimeout(5)
        assert running.stdout.recv(100) == b"late\n"
    assert wait_until((client.project / "rc").exists)
    assert wait_until(lambda: (client.project / "rc").read_text() == "0\n")


def test_left_over_process_without_streams_lives(client: Client, mark: str) -> None:
    finished = client.hook(
        f"setsid -f sh -c 'sleep 0.5; touch lived' {mark} </dev/null >/dev/null 2>&1"
    )
    assert finished.status == 0
    assert client.last().leftovers >= 1
    assert wait_until((client.project / "lived").exists, 3)


def test_left_over_process_keeps_its_stdin(client: Client) -> None:
    """What the client has written, or still writes, reaches a process that stays behind."""
    command = "{ cat >copy; touch done; } <&3 3<&- &"
    with client.start_hook(f"exec 3<&0; {command}") as running:
        running.finish(event())
    assert wait_until((client.project / "done").exists, 3)
    assert (client.project / "copy").read_bytes() == event()


def test_event_that_comes_after_the_hook_keeps_nobody_busy(client: Client, mark: str) -> None:
    client.write_policy(limits(timeout_ms=50))
    with client.start_hook(f"exec 3<&0; sh -c 'sleep 1; exit' {mark} <&3 & exit 0") as running:
        running.process.wait(5)
        assert running.stdin is not None
        running.stdin.send(event())
        time.sleep(0.6)
        busy = {pid: processor_seconds(pid) for pid in marked(mark)}
    assert len(busy) == 2  # the launcher's copy, and who writes to it
    assert max(busy.values()) < 0.2
    assert wait_until(lambda: not marked(mark))


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_another_namespaces_proc_misleads_nobody(client: Client) -> None:
    """Without a /proc of its own a PID namespace shows the ids of strangers."""
    client.write_policy(limits())
    hook = [client.prefix, "exec sleep 5"]
    code = (
        "import os, subprocess, sys; os.environ['CLAUDE_PID'] = str(os.getpid());"
        f"sys.exit(subprocess.run({hook!r}, start_new_session=True).returncode)"
    )
    with start(
        [*unshare(), sys.executable, "-c", code], client.environment(), client.project
    ) as running:
        running.finish(event())
    end = client.last()
    assert (end.outcome, end.processes) == ("timeout", 1)
    assert end.stop_ns < GRACE_MS * 1_000_000 + SLACK_NS


def test_hook_that_leaves_nothing_is_counted_so(client: Client) -> None:
    client.hook("sleep 0.02 & wait; true")
    assert (client.last().leftovers, client.last().leftover_names) == (0, "")


def test_names_of_left_over_processes_are_harmless(client: Client) -> None:
    """A process may name itself anything; the record stays one line of valid JSON."""
    assert client.hook(stubborn("leaves_odd_names")).status == 0
    assert client.last().leftovers == 5


def test_many_left_over_processes_fit_the_record(client: Client, mark: str) -> None:
    client.hook(f"for i in $(seq 150); do sleep 1.5 & done; : {mark}")
    end = client.last()
    assert end.leftovers == 150
    assert len(end.leftover_names.encode()) <= 256


# --- what is measured ---------------------------------------------------------------------------


def test_times_of_the_whole_tree_are_measured(client: Client) -> None:
    client.hook(stubborn("burns"))
    end = client.last()
    assert 0.28e9 < end.user_ns + end.sys_ns < 0.9e9
    assert end.wall_ns >= 0.3e9
    assert end.ctx_voluntary + end.ctx_involuntary > 0
    assert end.processes >= 2


def test_bytes_of_the_streams_are_counted(client: Client) -> None:
    text = event(padding="x" * 300_000)
    finished = client.hook("cat; echo error >&2", text)
    end = client.last()
    assert finished.stdout == text
    assert (end.stdin_bytes, end.stdout_bytes, end.stderr_bytes) == (len(text), len(text), 6)


def test_disk_writes_are_measured(client: Client) -> None:
    """Block I/O of the tree, where the file system counts it: what getrusage says of it bare."""
    command = "dd if=/dev/zero of=big bs=64k count=64 conv=fsync 2>/dev/null"
    probe = (
        f"import resource, subprocess; subprocess.run({command!r}, shell=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock * 512)"
    )
    bare = subprocess.run(
        [sys.executable, "-c", probe], cwd=client.project, capture_output=True, check=True
    )
    client.hook(command)
    written = int(bare.stdout)
    assert abs(client.last().disk_write_bytes - written) <= max(64 << 10, written // 4)


def test_most_processes_at_once_are_counted(client: Client) -> None:
    client.hook("for i in 1 2 3 4 5 6 7 8; do sleep 0.3 & done; wait")
    assert client.last().processes >= 8


def test_ten_hooks_at_once_end_on_time(client: Client, mark: str) -> None:
    client.write_policy(limits(timeout_ms=500))
    command = stubborn("deaf_daemon", mark)
    results: list[Finished] = []
    threads = [
        threading.Thread(target=lambda: results.append(client.hook(command))) for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [finished.status for finished in results] == [124] * 10
    assert marked(mark) == []
    assert [end.outcome for end in client.spool().ends] == ["timeout"] * 10
