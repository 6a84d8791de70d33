"""The service's life: one at a time, quickly there, and nothing lost however it ends."""

import json
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.otlp_bodies import encoded, event, logs
from tests.sandbox import Sandbox
from tests.service_driver import (
    Service,
    append,
    better_claude,
    fresh_run,
    fresh_start,
    running_service,
    wait_until,
)

from better_claude.collect import proc
from better_claude.collect.otlp.entries import Encoding, Signal
from better_claude.commands.up import bring_up
from better_claude.service.lock import lock_owner
from better_claude.service.state import ServiceState, service_state
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter, SessionSummary

LOGS = logs(event("user_prompt", 1, {"prompt_length": 3}))


@pytest.fixture
def service(sandbox: Sandbox) -> Iterator[Service]:
    with running_service(sandbox) as one:
        yield one


def services_of(sandbox: Sandbox) -> set[int]:
    """Return the processes that are services of this state folder."""
    sign = f"BETTER_CLAUDE_STATE={sandbox.state}".encode()
    return {
        pid
        for pid in proc.process_ids()
        if sign in proc.environment(pid)
        and b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    }


def test_up_says_where_it_is_and_twice_is_once(service: Service) -> None:
    state = service.state
    again = better_claude(service.sandbox, "up", "--json")
    said = json.loads(again.stdout)
    assert (said["pid"], said["port"], said["answering"]) == (state.pid, state.port, True)
    assert services_of(service.sandbox) == {state.pid}
    info = json.loads(service.paths.service_info.read_text())
    assert set(info) == {"pid", "port", "started_ns", "version"}
    assert info["pid"] == state.pid
    assert abs(time.time_ns() - info["started_ns"]) < 60 * 10**9


def test_ten_starters_make_one_service(sandbox: Sandbox) -> None:
    try:
        with ThreadPoolExecutor(10) as pool:
            done = list(pool.map(lambda _: better_claude(sandbox, "up", "--json"), range(10)))
        assert [one.returncode for one in done] == [0] * 10, [one.stderr for one in done]
        assert len({json.loads(one.stdout)["pid"] for one in done}) == 1
        assert len(services_of(sandbox)) == 1
    finally:
        better_claude(sandbox, "down")


def test_up_puts_back_the_launcher_that_settings_name(service: Service) -> None:
    launcher = service.sandbox.paths.launcher
    launcher.unlink(missing_ok=True)
    better_claude(service.sandbox, "up")
    assert os.access(launcher, os.X_OK)


def test_up_replaces_a_service_of_another_version(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = service.state
    assert bring_up(service.sandbox.paths).pid == before.pid
    monkeypatch.setattr("better_claude.commands.up.__version__", "0.0.0")
    assert bring_up(service.sandbox.paths).pid != before.pid
    assert services_of(service.sandbox) == {service.state.pid}


def test_a_service_in_the_foreground_refuses_to_be_the_second(service: Service) -> None:
    second = better_claude(service.sandbox, "serve")
    assert second.returncode == 1
    assert "[service-running]" in second.stderr
    assert service.state.answering


def test_down_ends_it_and_twice_is_no_failure(sandbox: Sandbox) -> None:
    with running_service(sandbox) as service:
        pid = service.pid
        first = better_claude(sandbox, "down")
        assert (first.returncode, first.stdout.splitlines()[0]) == (0, "service stopped")
        assert "autostart" in first.stdout
        assert not proc.is_running(pid, 0)
        assert service_state(sandbox.paths) == ServiceState(running=False)
        assert not sandbox.paths.service_info.exists()
        second = better_claude(sandbox, "down")
        assert (second.returncode, second.stdout.splitlines()[0]) == (
            0,
            "the service was not running",
        )


def test_everything_is_for_the_owner_only(service: Service) -> None:
    append(service.paths.spools[0], [fresh_start(1)])
    wait_until(lambda: service.running() or service.runs())
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in service.paths.state.rglob("*")
        if not path.is_dir() and path.parent.name != "bin"
    }
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    assert stat.S_IMODE(service.paths.state.stat().st_mode) == 0o700


def test_it_knows_nothing_of_its_starters_secrets(sandbox: Sandbox) -> None:
    extra = {
        "ANTHROPIC_API_KEY": "secret",
        "CLAUDE_CODE_MESSAGING_TOKEN": "secret",
        "BETTER_CLAUDE_RUN": "0123456789abcdef",
        "PYTHONSTARTUP": "/nowhere",
    }
    try:
        assert better_claude(sandbox, "up", extra=extra).returncode == 0
        pid = service_state(sandbox.paths).pid
        environment = b"\0".join(proc.environment(pid))
        assert b"secret" not in environment
        assert b"BETTER_CLAUDE_RUN" not in environment
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    finally:
        better_claude(sandbox, "down")


def test_a_repositorys_modules_are_not_imported(sandbox: Sandbox) -> None:
    trap = (
        "import pathlib; pathlib.Path('/proc/self/cwd/../trapped').touch(); raise SystemExit(3)\n"
    )
    for name in ("better_claude.py", "aiohttp.py", "msgspec.py", "json.py"):
        (sandbox.project / name).write_text(trap)
    try:
        assert better_claude(sandbox, "up").returncode == 0
        better_claude(sandbox, "down")
        environ = sandbox.environ({"PYTHONPATH": str(sandbox.project)})
        done = subprocess.run(
            [sandbox.paths.starter], env=environ, cwd=sandbox.project, check=False
        )
        assert done.returncode == 0
        assert service_state(sandbox.paths).answering
        assert not (sandbox.root / "trapped").exists()
    finally:
        better_claude(sandbox, "down")


def test_new_records_are_visible_within_a_second(service: Service) -> None:
    for number in range(1, 6):
        start_s = time.monotonic()
        append(service.paths.spools[number % 2], [fresh_run(number)])
        wait_until(lambda wanted=number: len(service.runs()) == wanted, 1.0)  # type: ignore[misc]
        assert time.monotonic() - start_s < 1.0


def test_what_was_recorded_while_it_was_down_is_stored_at_its_start(sandbox: Sandbox) -> None:
    append(sandbox.paths.spools[0], [fresh_start(1), fresh_run(1), fresh_run(2)])
    with running_service(sandbox) as service:
        wait_until(lambda: len(service.runs()) == 2)


def test_it_drains_the_spool_when_it_is_told_to_stop(sandbox: Sandbox) -> None:
    with running_service(sandbox) as service:
        append(sandbox.paths.spools[0], [fresh_run(number) for number in range(1, 3001)])
        better_claude(sandbox, "down")
        assert len(service.runs()) == 3000


def test_kill_and_restart_lose_and_double_nothing(sandbox: Sandbox) -> None:
    written = threading.Event()
    total = 6000

    def write() -> None:
        for number in range(1, total + 1, 20):
            append(
                sandbox.paths.spools[number % 2], [fresh_run(n) for n in range(number, number + 20)]
            )
            time.sleep(0.005)
        written.set()

    with running_service(sandbox) as service:
        writer = threading.Thread(target=write)
        writer.start()
        kills = 0
        while not written.is_set():
            service.kill()
            kills += 1
            assert better_claude(sandbox, "up").returncode == 0
        writer.join()
        wait_until(lambda: len(service.runs()) >= total)
        assert kills >= 2
        assert {run.run for run in service.runs()} == {f"{n:016x}" for n in range(1, total + 1)}
        assert len(service.runs()) == total


def test_a_state_folder_that_is_replaced_is_taken_up_again(sandbox: Sandbox) -> None:
    with running_service(sandbox) as service:
        pid = service.pid
        shutil.rmtree(sandbox.state)
        time.sleep(1.5)
        assert proc.is_running(pid, 0)
        sandbox.state.mkdir(mode=0o700)
        wait_until(lambda: service.state.answering)
        assert service.pid == pid
        append(sandbox.paths.spools[0], [fresh_run(1)])
        wait_until(lambda: len(service.runs()) == 1)


def test_a_service_whose_folder_another_one_took_over_ends(sandbox: Sandbox) -> None:
    with running_service(sandbox) as service:
        pid = service.pid
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGSTOP)
        os.close(process)
        shutil.rmtree(sandbox.state)
        assert better_claude(sandbox, "up").returncode == 0
        second = service.pid
        assert second != pid
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: not proc.is_running(pid, 0))
        assert service.state.answering


def test_a_database_that_cannot_be_written_is_reported_and_outlived(service: Service) -> None:
    append(service.paths.spools[0], [fresh_run(1)])
    wait_until(lambda: len(service.runs()) == 1)
    # A folder in the database's place, which not even root can write to.
    pid = service.pid
    service.kill()
    aside = service.paths.state / "aside"
    service.paths.store.rename(aside)
    service.paths.store.mkdir()
    assert better_claude(service.sandbox, "up").returncode == 0
    append(service.paths.spools[0], [fresh_run(2)])
    wait_until(lambda: service.error("spool"))
    assert service.pid != pid
    assert "spool: " in service.log
    service.paths.store.rmdir()
    aside.rename(service.paths.store)
    wait_until(lambda: len(service.runs()) == 2)
    wait_until(lambda: not service.error("spool"))
    assert "spool: works again" in service.log


def test_a_full_disk_is_reported_and_outlived(service: Service) -> None:
    """Files that may not grow stand for a disk that has no room."""
    pid = service.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (64 << 10, resource.RLIM_INFINITY))
    append(service.paths.spools[0], [fresh_run(number) for number in range(1, 5001)])
    wait_until(lambda: service.error("spool"))
    refused = service.post("/v1/logs", encoded(Signal.LOGS, Encoding.JSON, LOGS))
    assert refused.status == 503
    assert refused.headers["retry-after"] == "5"
    assert service.state.answering
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: len(service.runs()) == 5000)
    wait_until(lambda: not service.error("spool"))
    assert service.pid == pid
    assert service.post("/v1/logs", encoded(Signal.LOGS, Encoding.JSON, LOGS)).status == 200


def test_rubbish_in_the_spool_is_counted_and_what_follows_is_stored(service: Service) -> None:
    path = service.paths.spools[0] / "20260101T00.spool"
    path.write_bytes(b"\x00\xff" * 500 + b"\n{not json}\tdeadbeef\n" + b"half a line")
    append(service.paths.spools[0], [fresh_run(1)])
    wait_until(lambda: len(service.runs()) == 1)
    assert not service.error("spool")


def test_a_port_that_is_taken_is_said_and_taken_back_when_it_is_free(sandbox: Sandbox) -> None:
    with running_service(sandbox) as service:
        port = service.state.port
        better_claude(sandbox, "down")
        with socket.create_server(("127.0.0.1", port)):
            started = better_claude(sandbox, "up")
            assert started.returncode == 0
            assert f"port {port}" in started.stderr
            assert "[port-taken]" in service.error("receiver")
            assert service.state.port == 0
            assert "port-taken" in service.log
            append(service.paths.spools[0], [fresh_run(1)])
            wait_until(lambda: len(service.runs()) == 1)
        wait_until(lambda: service.state.port == port, 35)


def test_a_broken_contract_keeps_the_last_policy_and_is_said(service: Service) -> None:
    contract = service.paths.contract
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook_timeouts]\nStop = "123ms"\n')
    wait_until(lambda: b"Stop timeout_ms=123 " in service.paths.policy.read_bytes())
    contract.write_text('[hook_timeouts]\nStop = "soon"\n')
    wait_until(lambda: "[bad-value]" in service.error("contract"))
    assert b"Stop timeout_ms=123 " in service.paths.policy.read_bytes()
    contract.write_text('[hook_timeouts]\nStop = "321ms"\n')
    wait_until(lambda: b"Stop timeout_ms=321 " in service.paths.policy.read_bytes())
    wait_until(lambda: not service.error("contract"))
    contract.unlink()
    wait_until(lambda: b"Stop timeout_ms=500 " in service.paths.policy.read_bytes())


def test_a_project_that_turns_up_in_the_records_gets_its_policy(service: Service) -> None:
    own = service.sandbox.project / ".better-claude/contract.toml"
    own.parent.mkdir()
    own.write_text('[hook_timeouts]\nStop = "77ms"\n')
    append(service.paths.spools[0], [fresh_run(1, project=str(service.sandbox.project))])
    wait_until(lambda: b"Stop timeout_ms=77 " in service.paths.policy.read_bytes(), 2.0)
    # It is known again after a restart, without a new record.
    service.kill()
    service.paths.policy.unlink()
    assert better_claude(service.sandbox, "up").returncode == 0
    assert b"Stop timeout_ms=77 " in service.paths.policy.read_bytes()
    own.write_text("[service]\nautostart = false\n")
    wait_until(lambda: "[project-setting]" in service.error("contract"))
    own.unlink()
    wait_until(lambda: b"Stop timeout_ms=77 " not in service.paths.policy.read_bytes())
    wait_until(lambda: not service.error("contract"))


def test_a_projects_contract_that_is_no_file_hangs_nobody(service: Service) -> None:
    folder = service.sandbox.project / ".better-claude"
    folder.mkdir()
    os.mkfifo(folder / "contract.toml")
    append(service.paths.spools[0], [fresh_run(1, project=str(service.sandbox.project))])
    wait_until(lambda: len(service.runs()) == 1)
    service.paths.contract.parent.mkdir(parents=True)
    service.paths.contract.write_text('[hook_timeouts]\nStop = "123ms"\n')
    wait_until(lambda: b"Stop timeout_ms=123 " in service.paths.policy.read_bytes())


BURN = """
import time
held = bytearray(b'x' * (32 << 20))
while time.process_time() < 0.5:
    pass
input()
"""


@contextmanager
def a_client(service: Service) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a stand-in for a client that uses half a second of CPU, and tell the service of it."""
    client = subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE)
    run = fresh_run(1, claude_pid=client.pid, start_ns=time.time_ns())
    append(service.paths.spools[0], [run])
    try:
        yield client
    finally:
        client.communicate(b"\n")


def test_sessions_are_sampled_over_a_restart_and_their_end_is_told(service: Service) -> None:
    with a_client(service):
        wait_until(lambda: service.runs() and the_session(service).anon_peak_bytes >= 32 << 20, 3.0)
        # The kernel counts in ticks.
        wait_until(lambda: the_session(service).cpu_ns >= 450_000_000, 5.0)
        # The next service goes on counting where the last one stopped, and counts nothing twice.
        service.kill()
        assert better_claude(service.sandbox, "up").returncode == 0
        before_ns = the_session(service).last_ns
        wait_until(lambda: the_session(service).last_ns > before_ns, 5.0)
        assert 450_000_000 <= the_session(service).cpu_ns <= 650_000_000
    ended_ns = time.time_ns()
    wait_until(lambda: the_session(service).last_ns >= ended_ns, 5.0)


def the_session(service: Service) -> SessionSummary:
    """Return the only session that the store knows."""
    with open_reader(service.paths.store) as store:
        (found,) = store.sessions(RunFilter())
        return found


def test_the_unit_for_systemd(sandbox: Sandbox) -> None:
    calls = sandbox.root / "calls"
    folder = sandbox.root / "bin"
    folder.mkdir()
    fake = folder / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$*" >>{calls}\n')
    fake.chmod(0o755)
    extra = {"PATH": f"{folder}:/usr/bin:/bin"}
    try:
        assert better_claude(sandbox, "up", "--systemd", extra=extra).returncode == 0
        unit = sandbox.home / ".config/systemd/user/better-claude.service"
        text = unit.read_text()
        assert f'"BETTER_CLAUDE_STATE={sandbox.state}"' in text
        assert "Restart=on-failure" in text
        assert calls.read_text().splitlines() == [
            "--user daemon-reload",
            "--user enable better-claude.service",
            "--user restart better-claude.service",
        ]
        assert better_claude(sandbox, "down", "--systemd", extra=extra).returncode == 0
        assert not unit.exists()
        assert lock_owner(sandbox.paths.service_lock) is None
        fake.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
        failed = better_claude(sandbox, "up", "--systemd", extra=extra)
        assert failed.returncode == 1
        assert "Failed to connect to bus" in failed.stderr
        assert "[systemd]" in failed.stderr
    finally:
        better_claude(sandbox, "down")


def test_a_state_folder_that_cannot_be_used_is_said(sandbox: Sandbox) -> None:
    sandbox.state.write_text("a file")
    for verb in ("up", "serve"):
        done = better_claude(sandbox, verb)
        assert done.returncode == 1
        assert "[state-folder]" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_contract_spells_sizes_as_it_reads_them(sandbox: Sandbox) -> None:
    contract = sandbox.paths.contract
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook."a"]\nmemory = "300MB"\n[hook."b"]\nmemory = "1500B"\n')
    done = better_claude(sandbox, "contract", "show")
    assert "300MB" in done.stdout
    assert "1500B" in done.stdout


def test_the_contract_in_force_and_its_origins(sandbox: Sandbox) -> None:
    contract = sandbox.paths.contract
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook_timeouts]\nStop = "123ms"\n[hook."guard.py"]\nmode = "observe"\n')
    done = better_claude(sandbox, "contract", "show", "--json")
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows["hook_timeouts.Stop"]["value"] == "123ms"
    assert rows["hook_timeouts.Stop"]["origin"] == str(contract)
    assert rows["memory.hook"]["origin"] == "built-in"
    assert rows['hook."guard.py".mode']["value"] == "observe"
    plain = better_claude(sandbox, "contract", "show").stdout
    assert len({line.index("built-in") for line in plain.splitlines() if "built-in" in line}) == 1
    checked = better_claude(sandbox, "contract", "check", str(contract))
    assert (checked.returncode, "1 setting and 1 hook, " in checked.stdout) == (0, True)
    contract.write_text("x = [" * 3000)
    broken = better_claude(sandbox, "contract", "check", str(contract))
    assert broken.returncode == 1
    assert "[contract-unreadable]" in broken.stderr
    absent = better_claude(sandbox, "contract", "check", "nowhere.toml")
    assert "[contract-unreadable]" in absent.stderr
