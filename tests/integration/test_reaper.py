"""What a killed launcher leaves is ended; what a hook left on purpose, and all else, is not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.launcher_driver import Client, event, launcher_binary, start
from tests.namespaces import unshare
from tests.sandbox import Sandbox
from tests.service_driver import (
    Service,
    append,
    better_claude,
    fresh_start,
    running_service,
    wait_until,
)

from better_claude.act.orphans import end_orphans, find_orphans
from better_claude.collect import proc
from better_claude.model import Mode, Outcome
from better_claude.store.views import RunningRun, StoredRun

# Issue: within two seconds; one look a second, and the grace.
WITHIN_S = 2.0
RUN = "00000000000000aa"


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Service]:
    with running_service(sandbox) as one:
        yield one


@pytest.fixture
def launched(service: Service) -> Client:
    """Return a client whose launcher writes into the service's spool."""
    client = Client(service.sandbox.state, service.sandbox.project, launcher_binary())
    policy = service.paths.policy.read_bytes()
    client.install()
    service.paths.policy.write_bytes(policy)
    return client


def pids(folder: Path) -> list[int]:
    """Return the process ids that hooks wrote down."""
    return [int(path.read_text()) for path in folder.glob("pid.*") if path.read_text().strip()]


def kill_launcher(service: Service) -> RunningRun:
    """Wait for the one run's start, and kill its launcher."""
    wait_until(service.running)
    (run,) = service.running()
    os.kill(run.launcher_pid, signal.SIGKILL)
    return run


def the_run(service: Service) -> StoredRun:
    wait_until(service.runs, WITHIN_S + 0.5)
    (run,) = service.runs()
    return run


DEEP = """
echo $$ >pid.shell
sleep 300 & echo $! >pid.child
setsid sh -c 'trap "" TERM; echo $$ >pid.deaf; while :; do sleep 300; done' &
(setsid sh -c 'sleep 300 & echo $! >pid.twice' &)
sleep 300
"""


def test_all_that_a_killed_launcher_leaves_is_ended(service: Service, launched: Client) -> None:
    with launched.start_hook(DEEP):
        wait_until(lambda: len(pids(launched.project)) == 4)
        left = pids(launched.project)
        run = kill_launcher(service)
        killed_s = time.monotonic()
        wait_until(lambda: not any(proc.is_running(pid, 0) for pid in left), WITHIN_S + 0.5)
        assert time.monotonic() - killed_s < WITHIN_S
        stored = the_run(service)
    assert (stored.run, stored.outcome) == (run.run, Outcome.LOST)
    assert 0 < stored.wall_ns < 10 * 10**9
    assert service.running() == []
    assert service.counter("orphans_ended") >= 3
    assert service.counter("hook_runs_without_end") == 1


@pytest.mark.parametrize("stop", ["kill -STOP $PPID", "kill -STOP 0"])
def test_a_hook_that_stops_its_launcher_is_held_to_its_limit_all_the_same(
    service: Service, launched: Client, stop: str
) -> None:
    # Stop has the shortest limit, half a second; one look a second, and the grace.
    finished = launched.hook(f"{stop}; sleep 30", event("Stop"))
    assert finished.status == 124
    run = the_run(service)
    assert (run.outcome, run.breach) == (Outcome.TIMEOUT, "time")
    assert run.wall_ns < 3 * 10**9
    assert service.counter("stopped_launchers") >= 1


def test_ten_killed_at_once(service: Service, launched: Client) -> None:
    command = "echo $$ >pid.$$; sleep 300; :"
    hooks = [launched.start_hook(command) for _ in range(10)]
    try:
        wait_until(lambda: len(service.running()) == 10)
        wait_until(lambda: len(pids(launched.project)) == 10)
        for run in service.running():
            os.kill(run.launcher_pid, signal.SIGKILL)
        wait_until(lambda: len(service.runs()) == 10, 4.0)
        assert not any(proc.is_running(pid, 0) for pid in pids(launched.project))
    finally:
        for hook in hooks:
            hook.__exit__(None, None, None)


def test_what_was_killed_while_the_service_was_down_is_ended_at_its_start(
    service: Service, launched: Client
) -> None:
    with launched.start_hook("sleep 300 & echo $! >pid.child; wait"):
        wait_until(lambda: service.running() and pids(launched.project))
        (run,) = service.running()
        service.kill()
        os.kill(run.launcher_pid, signal.SIGKILL)
        (left,) = pids(launched.project)
        assert proc.is_running(left, 0)
        assert better_claude(service.sandbox, "up").returncode == 0
        wait_until(lambda: not proc.is_running(left, 0), WITHIN_S)
        # Nobody saw how long it lived.
        assert (the_run(service).outcome, the_run(service).wall_ns) == (Outcome.LOST, 0)


def test_what_a_hook_left_on_purpose_is_let_live(service: Service, launched: Client) -> None:
    finished = launched.hook("nohup setsid sleep 300 >/dev/null 2>&1 & echo $! >pid.left")
    assert finished.status == 0
    (left,) = pids(launched.project)
    try:
        assert the_run(service).outcome is Outcome.OK
        with launched.start_hook("echo $$ >pid.other; sleep 300; :"):
            wait_until(lambda: len(pids(launched.project)) == 2)
            kill_launcher(service)
            wait_until(lambda: len(service.runs()) == 2, WITHIN_S + 0.5)
        assert proc.is_running(left, 0)
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_tools_background_task_is_let_live(service: Service, launched: Client) -> None:
    shell = "source /nowhere/shell-snapshots/snapshot-bash-1.sh 2>/dev/null || true && eval "
    command = (
        shell
        + "'setsid sleep 300 & echo $! >pid.task; sleep 300' < /dev/null && pwd -P >| /dev/null"
    )
    argv = [launched.prefix, command]
    with start(argv, launched.tool_environment(), launched.project):
        wait_until(lambda: pids(launched.project))
        wait_until(service.running)
        (run,) = service.running()
        assert run.mode is Mode.TOOL
        # As the client does: the whole group, of which a background task is no part.
        os.killpg(run.launcher_pid, signal.SIGKILL)
        (task,) = pids(launched.project)
        try:
            assert the_run(service).outcome is Outcome.LOST
            assert proc.is_running(task, 0)
        finally:
            os.kill(task, signal.SIGKILL)


def test_a_server_ends_well_and_has_a_duration(service: Service, launched: Client) -> None:
    with launched.start_server("sleep 1.2") as server:
        wait_until(service.running)
        server.finish(timeout=10)
        stored = the_run(service)
    assert (stored.mode, stored.outcome) == (Mode.SERVER, Outcome.OK)
    assert 1.1e9 < stored.wall_ns < 4e9
    assert service.counter("orphans_ended") == 0


def test_a_run_of_before_the_last_boot_is_lost_and_nobody_is_touched(service: Service) -> None:
    # Its launcher's id belongs to another process now: ours.
    append(service.paths.spools[0], [fresh_start(1, launcher_pid=os.getpid(), launcher_ticks=1)])
    assert the_run(service).outcome is Outcome.LOST


@contextmanager
def child(run: str, code: str = "import time; time.sleep(300)") -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True); {code}"],
        env={"BETTER_CLAUDE_RUN": run},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_only_the_runs_own_processes_are_found() -> None:
    with child(RUN) as one, child(RUN + "0"), child("0" + RUN), child("0" * 16):
        assert [orphan.pid for orphan in find_orphans([RUN])] == [one]


def test_descendants_with_an_environment_of_their_own_are_found_by_their_parent() -> None:
    bare = "import subprocess; subprocess.run(['sleep', '300'], env={})"
    with child(RUN, bare) as pid:
        wait_until(lambda: len(proc.tree(pid)) == 2)
        inner = proc.tree(pid)[1]
        assert {orphan.pid for orphan in find_orphans([RUN])} == {pid, inner}
        assert end_orphans([RUN], 0.05) == 2
        assert not proc.is_running(inner, 0)


def test_those_that_are_spared_live() -> None:
    with child(RUN) as one, child(RUN) as other:
        assert [orphan.pid for orphan in find_orphans([RUN], spared=[one])] == [other]
        assert end_orphans([RUN], 0.05, spared=[one]) == 1
        assert proc.is_running(one, 0)
        assert not proc.is_running(other, 0)


# Ends a run's processes from a process that carries its id, as does the one that started it.
INNER = f"from better_claude.act.orphans import end_orphans; print(end_orphans(['{RUN}'], 0.05))"
OUTER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {INNER!r}])"


def test_we_never_end_ourselves_or_who_started_us() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OUTER],
        env={**os.environ, "BETTER_CLAUDE_RUN": RUN},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "0\n"


def test_nothing_to_end_is_no_failure() -> None:
    assert end_orphans([RUN], 0.1) == 0
    assert end_orphans([], 0.1) == 0


def test_the_grace_is_kept() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, lambda *a: (time.sleep(0.2), exit(0)))"
    )
    with child(RUN, f"{code}; print(flush=True); time.sleep(300)") as pid:
        time.sleep(0.1)
        process = os.pidfd_open(pid)
        assert end_orphans([RUN], 2.0) == 1
        status = os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOWAIT)
        os.close(process)
    assert status is not None
    assert (status.si_code, status.si_status) == (os.CLD_EXITED, 0)


def test_those_that_multiply_are_ended_too() -> None:
    code = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);\n"
        "end = time.monotonic() + 10\n"
        "while time.monotonic() < end:\n"
        "    time.sleep(0.005)\n"
        "    if os.fork(): os._exit(0)\n"
    )
    with child(RUN, code):
        assert end_orphans([RUN], 0.05) >= 1
        assert find_orphans([RUN]) == set()


def test_a_run_in_another_pid_namespace_goes_on(service: Service, launched: Client) -> None:
    # What a client in a sandbox is: its own process ids, our state folder.
    hook = launched.hook_argv("sleep 3; echo done")
    client = (
        "import os, subprocess; os.environ['CLAUDE_PID'] = str(os.getpid());"
        f"subprocess.run({hook!r}, stdin=subprocess.DEVNULL, start_new_session=True)"
    )
    done = subprocess.run(
        [*unshare("--mount-proc"), sys.executable, "-c", client],
        env=launched.environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "done\n"
    assert the_run(service).outcome is Outcome.OK
    assert not service.running()
