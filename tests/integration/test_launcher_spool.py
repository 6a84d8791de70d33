"""What the launcher writes, and that nothing it cannot write or read stops a command."""

import fcntl
import os
import resource
import shutil
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.launcher_driver import (
    SECRET,
    Client,
    Finished,
    Spool,
    event,
    launcher_binary,
    read_spool,
    remove_second_folder,
    start,
    wait_until,
    write_policy,
)
from tests.sandbox import Sandbox

from better_claude.model import Run, fnv1a64
from better_claude.paths import Paths


def second_folder(client: Client) -> Path:
    return Paths.from_environment({"BETTER_CLAUDE_STATE": str(client.state)}).spools[1]


@pytest.fixture(autouse=True)
def clean_second_folder(client: Client) -> Iterator[None]:
    yield
    shutil.rmtree(second_folder(client), ignore_errors=True)


def check_runs_as_ever(client: Client) -> None:
    """A command's result is the one it would have had, directly and through a shell."""
    finished = client.hook("cat >/dev/null; echo out; echo err >&2; exit 3")
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", b"err\n")
    finished = client.hook("/bin/cat")
    assert (finished.status, finished.stdout, finished.stderr) == (0, event(), b"")


# --- form ---------------------------------------------------------------------------------------


def test_record_is_one_line_of_its_own(client: Client) -> None:
    client.hook("true")
    (file,) = (client.state / "spool").glob("*.spool")
    hours = {time.strftime("%Y%m%dT%H.spool", time.gmtime(time.time() - ago)) for ago in (0, 2)}
    assert file.name in hours
    text = file.read_bytes()
    assert text.count(b"\n") == 4
    assert text.startswith(b"\n") and text.endswith(b"\n")
    for line in text.split(b"\n")[1::2]:
        payload, _, checksum = line.rpartition(b"\t")
        assert checksum == b"%08x" % zlib.crc32(payload)


def test_records_are_single_writes(client: Client, tmp_path: Path) -> None:
    """Counted with strace: one write a record, on a file opened for appending."""
    trace = tmp_path / "trace"
    # -D: strace is nobody's parent, so that the shape of the process tree stays the client's.
    argv = ["strace", "-D", "-f", "-o", str(trace), "-e", "trace=write,writev,open,openat,fsync"]
    argv += map(os.fsdecode, client.hook_argv("exit 3"))
    with start(argv, client.environment(), client.project) as running:
        assert running.finish(event()).status == 3
    assert wait_until(lambda: "exited with 3" in trace.read_text().splitlines()[-1])
    lines = trace.read_text().splitlines()
    opened = [x for x in lines if ".spool" in x and "open" in x]
    assert opened
    assert all("O_APPEND" in x and "O_CLOEXEC" in x for x in opened)
    written = [x for x in lines if "kind" in x]
    assert len(written) == len(client.spool().records) == 2
    assert all(" write(" in x for x in written)
    assert not any("fsync" in x for x in lines)


def test_start_is_written_before_the_command_runs(client: Client) -> None:
    """A command that looks finds its own start, and nothing of its end."""
    finished = client.hook("cat $BETTER_CLAUDE_STATE/spool/*.spool")
    assert b'"kind":"start"' in finished.stdout.replace(b" ", b"")
    assert b'"end"' not in finished.stdout


def test_end_is_written_before_the_client_goes_on(client: Client) -> None:
    for _ in range(20):
        client.forget()
        client.hook("true")
        assert len(client.spool().ends) == 1


def test_run_ids_are_random(client: Client) -> None:
    for _ in range(50):
        client.hook("true")
    assert len({end.run for end in client.spool().ends}) == 50


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (b"true # " + b"x" * 5000, "true # " + "x" * 1017),
        (b"true # " + b"\xc3\xa9" * 2000, "true # " + "\u00e9" * 508),
        (b"true # " + b"\xf0\x9f\x90\x8c" * 500, "true # " + "\U0001f40c" * 254),
        (b"true # a\xffb", "true # a\ufffdb"),
        (b"true # \xc3", "true # \ufffd"),
        (b"true # tab\there", "true # tab\ufffdhere"),
        (b"true # one\n# two", "true # one\ufffd# two"),
        (b'true # "quoted\\ back"', 'true # "quoted\\ back"'),
        (b"true # \x7f\x1b\x01", None),
        (b"true # \xed\xa0\x80 surrogate", None),
        (b"true # \xc0\x80 overlong", None),
        (b"true # \xf4\x90\x80\x80 beyond", None),
        (b"true # " + b"\x01" * 3000, None),
        (b"true # " + b'"' * 3000, None),
        (b"true # " + b"\\" * 3000, None),
        (b"true # " + b"\xff" * 3000, None),
    ],
)
def test_command_text_is_cut_and_cleaned(
    client: Client, command: bytes, expected: str | None
) -> None:
    assert client.hook(command).status == 0
    spool = client.spool()
    assert not spool.foreign
    for record in spool.records:
        text = record.command
        assert len(text.encode()) <= 1024
        assert text == (expected if expected is not None else text)
        assert not any(ord(c) < 32 or ord(c) == 127 for c in text)
        assert record.key == f"{fnv1a64(command):016x}"


def test_other_texts_are_cut_too(client: Client) -> None:
    long = "\u00e9" * 5000
    text = event(
        "PreToolUse", tool_name=long, tool_use_id=long, prompt_id=long, agent_id=long
    ).replace(b'"hook_event_name":"PreToolUse"', b'"hook_event_name":"' + b"E" * 9000 + b'"')
    client.hook("cat >/dev/null", text, CLAUDE_CODE_SESSION_ID="s" * 9000)
    spool = client.spool()
    assert not spool.foreign
    (end,) = spool.ends
    for value in (end.tool, end.tool_use, end.prompt, end.agent):
        assert value == "\u00e9" * 128
    assert end.event == "E" * 256
    assert end.session == "s" * 256


def test_largest_record_fits(client: Client) -> None:
    """Every text at its worst for JSON at once: still one valid line below the limit."""
    worst = '"\\' * 3000
    text = event("PreToolUse", tool_name=worst, tool_use_id=worst, prompt_id=worst, agent_id=worst)
    variables = {"CLAUDE_CODE_SESSION_ID": worst, "CLAUDE_PROJECT_DIR": worst}
    assert client.hook("cat >/dev/null # " + worst, text, **variables).status == 0
    spool = client.spool()
    assert not spool.foreign
    assert len(spool.starts) == len(spool.ends) == 1


def test_nothing_of_the_content_is_written(client: Client) -> None:
    """No tool input, prompt, output or environment value: names, sizes, times and codes only."""
    text = event(prompt=SECRET, tool_input={"command": SECRET}, tool_response={"stdout": SECRET})
    client.write_policy("event - * timeout_ms=200")
    client.hook(f"echo {SECRET[::-1]} | rev; cat; echo $HOME >&2", text, TOKEN=SECRET)
    client.hook("cat; sleep 20", text, TOKEN=SECRET)
    for folder in (client.state, second_folder(client)):
        for file in folder.rglob("*"):
            if file.is_file() and file.name != "launcher":
                assert SECRET.encode() not in file.read_bytes()


# --- many at once ---------------------------------------------------------------------------------

SESSION_OF_HOOKS = """
import sys
from pathlib import Path
from tests.launcher_driver import Client, event
client = Client(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), session=sys.argv[4])
for index in range(int(sys.argv[5])):
    command = "cat; exit %d" % (index % 3) if index % 2 else "/bin/cat"
    finished = client.hook(command, event(padding="x" * (index * 977 % 9000)))
    assert finished.status == (index % 3 if index % 2 else 0), finished
"""


def test_ten_sessions_at_once_tear_no_line(client: Client) -> None:
    runs = 40
    root = Path(__file__).parents[2]
    modules = os.pathsep.join([str(root), str(root / "src")])
    folders = [str(path) for path in (client.state, client.project, client.launcher)]
    sessions = [
        subprocess.Popen(
            [sys.executable, "-c", SESSION_OF_HOOKS, *folders, f"session-{number}", str(runs)],
            env={**os.environ, "PYTHONPATH": modules},
        )
        for number in range(10)
    ]
    assert [session.wait(timeout=100) for session in sessions] == [0] * 10
    spool = client.spool()
    assert not spool.foreign
    begun = {record.run: record for record in spool.starts}
    ended = {record.run: record for record in spool.ends}
    assert begun.keys() == ended.keys()
    assert len(begun) == len(spool.starts) == len(spool.ends) == 10 * runs
    for number, session in enumerate(sessions):
        mine = [end for end in ended.values() if end.session == f"session-{number}"]
        assert len(mine) == runs
        assert {end.claude_pid for end in mine} == {session.pid}


# --- what cannot be written -----------------------------------------------------------------------


def full_disk(free: int) -> Callable[[], None]:
    """Return what makes any file end after ``free`` bytes, as a full disk does.

    The kernel sends SIGXFSZ besides, which by default would end the launcher: it must not.
    """
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (free, resource.RLIM_INFINITY))


def hook_with(client: Client, before: Callable[[], None], command: str = "exit 3") -> Finished:
    argv = client.hook_argv(command)
    with start(argv, client.environment(), client.project, before=before) as running:
        return running.finish(event())


def the_file(client: Client) -> Path:
    (file,) = (client.state / "spool").glob("*.spool")
    return file


@pytest.mark.parametrize("room", [0, 1, 2, 10, 100, 200])
def test_after_a_short_write_the_second_folder_takes_over(client: Client, room: int) -> None:
    # The limit holds for the second folder's file too, so the first one has to be the longer.
    # The limit holds for each file: the second folder's must have room for a whole run.
    for _ in range(3):
        client.hook("true")
    size = the_file(client).stat().st_size
    finished = hook_with(client, full_disk(size + room))
    assert (finished.status, finished.stderr) == (3, b"")
    second = read_spool(second_folder(client))
    assert stat.S_IMODE(second_folder(client).stat().st_mode) == 0o700
    assert (len(second.starts), len(second.ends)) == (1, 1)
    assert not second.foreign
    first = client.spool()
    assert len(first.foreign) <= 2
    client.hook("exit 5")
    assert client.spool().ends[-1].exit == 5
    assert len(client.spool().foreign) == len(first.foreign)


def test_no_room_anywhere(client: Client) -> None:
    finished = hook_with(client, full_disk(0))
    assert (finished.status, finished.stdout, finished.stderr) == (3, b"", b"")
    assert client.spool().records == ()


def test_full_file_system(client: Client, tmp_path: Path) -> None:
    """A real file system that is full: nothing is lost and every command runs."""
    image = tmp_path / "small"
    image.mkdir()
    small = Client(image / "state", client.project, client.launcher)
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(image)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system; the tests above force short writes")
    try:
        small.install()
        with (image / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError):
            while file.write(b"x" * 64):
                pass
        for _ in range(10):
            assert small.hook("exit 3").status == 3
        first, second = small.spool(), read_spool(second_folder(small))
        ends = [*first.ends, *second.ends]
        assert len({end.run for end in ends}) == len(ends) == 10
        (image / "ballast").unlink()
        small.forget()
        small.hook("exit 4")
        assert small.last().exit == 4
    finally:
        subprocess.run(["umount", "-l", str(image)], check=True)
        shutil.rmtree(second_folder(small), ignore_errors=True)


def test_second_folder_of_somebody_else_is_not_used(client: Client, tmp_path: Path) -> None:
    """A link in /tmp, or a folder that others may enter, is a trap: written to neither."""
    shutil.rmtree(client.state / "spool")
    (client.state / "spool").write_text("in the way")
    second = second_folder(client)
    second.parent.mkdir(mode=0o700, exist_ok=True)
    second.symlink_to(tmp_path)
    try:
        check_runs_as_ever(client)
        assert list(tmp_path.iterdir()) == []
    finally:
        second.unlink()
    second.mkdir()
    second.chmod(0o777)
    check_runs_as_ever(client)
    assert list(second.glob("*.spool")) == [] or stat.S_IMODE(second.stat().st_mode) == 0o700


def _remove(client: Client) -> None:
    launcher = client.state.parent / "elsewhere"
    shutil.move(client.prefix, launcher)
    shutil.rmtree(client.state)


def _file_as_spool(client: Client) -> None:
    shutil.rmtree(client.state / "spool")
    (client.state / "spool").write_text("")


def _link_as_spool_file(client: Client) -> None:
    for ahead in (0, 3600):
        name = time.strftime("%Y%m%dT%H.spool", time.gmtime(time.time() + ahead))
        (client.state / "spool" / name).symlink_to("/dev/full")


def _folder_as_spool_file(client: Client) -> None:
    for ahead in (0, 3600):
        name = time.strftime("%Y%m%dT%H.spool", time.gmtime(time.time() + ahead))
        (client.state / "spool" / name).mkdir()


def _pipe_as_spool_file(client: Client) -> None:
    """Opening a named pipe for writing would wait for a reader: for ever."""
    for ahead in (0, 3600):
        name = time.strftime("%Y%m%dT%H.spool", time.gmtime(time.time() + ahead))
        os.mkfifo(client.state / "spool" / name)


@pytest.mark.parametrize(
    "spoil", [_file_as_spool, _link_as_spool_file, _folder_as_spool_file, _pipe_as_spool_file]
)
def test_spool_that_cannot_be_written(client: Client, spoil: Callable[[Client], None]) -> None:
    spoil(client)
    check_runs_as_ever(client)
    assert len(read_spool(second_folder(client)).ends) == 2


def test_state_folder_that_is_missing(sandbox: Sandbox, client: Client) -> None:
    """The launcher is elsewhere and its state folder is gone: it makes one, or does without."""
    elsewhere = Client(sandbox.root / "other/state", client.project, client.launcher)
    environment = elsewhere.environment()
    for command, expected in (("exit 3", 3), ("/bin/true", 0)):
        with start(client.hook_argv(command), environment, client.project) as running:
            assert running.finish(event()).status == expected
    shutil.rmtree(second_folder(elsewhere), ignore_errors=True)


def test_state_folder_that_cannot_be_made(client: Client) -> None:
    for state in ("/proc/nothing", "/dev/null/state", "relative/state", "x" * 5000, "\n"):
        finished = client.hook("echo out; exit 3", event(), BETTER_CLAUDE_STATE=state)
        assert (finished.status, finished.stdout, finished.stderr) == (3, b"out\n", b"")
        remove_second_folder(state)
    # A name too long for us is not cut to another folder's.
    assert not (second_folder(client).parent / f"{fnv1a64(b'x' * 3071):016x}").exists()


def test_read_only_state_folder(client: Client) -> None:
    """As a user that may read our folder and not write it."""
    if os.geteuid() != 0:
        for folder in (client.state / "spool", client.state):
            folder.chmod(0o500)
        check_runs_as_ever(client)
        return
    for folder in (client.state.parent.parent, client.state.parent, client.project):
        folder.chmod(0o755)
    nobody = 65534
    finished = hook_with(client, lambda: os.setuid(nobody), "echo out; exit 3")
    assert (finished.status, finished.stdout) in ((3, b"out\n"), (126, b""), (127, b""))


def test_launcher_finds_its_state_folder_from_its_own_path(client: Client) -> None:
    finished = client.hook("exit 3", event(), BETTER_CLAUDE_STATE="")
    assert finished.status == 3
    assert client.last().exit == 3


def test_spool_folder_is_made_when_it_is_missing(client: Client) -> None:
    shutil.rmtree(client.state / "spool")
    client.hook("exit 3")
    assert client.last().exit == 3
    assert stat.S_IMODE((client.state / "spool").stat().st_mode) == 0o700


def test_no_descriptor_left(client: Client) -> None:
    """With every descriptor in use the command still runs as it would have."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))

    bare_argv = ["/bin/sh", "-c", "/bin/echo out"]
    with start(bare_argv, client.environment(), client.project, before=few) as running:
        bare = running.finish(event())
    finished = hook_with(client, few, "/bin/echo out")
    assert (finished.status, finished.stdout, finished.stderr) == (
        bare.status,
        bare.stdout,
        bare.stderr,
    )


# --- policy that cannot be read -------------------------------------------------------------------

BAD_POLICIES = {
    "empty": b"",
    "nul": b"\0" * 5000,
    "noise": bytes(range(256)) * 300,
    "no-checksums": b"better-claude-policy 1\nevent - * timeout_ms=1 mode=enforce\nend 1\n",
    "wrong-checksums": b"better-claude-policy 1 *00000000\nevent - * timeout_ms=1 *deadbeef\n",
    "long-line": b"event - " + b"x" * 2_000_000,
    "no-line-break": b"x",
    "cut": None,
}


@pytest.mark.parametrize("name", BAD_POLICIES)
def test_corrupt_policy_counts_as_absent(client: Client, name: str) -> None:
    text = BAD_POLICIES[name]
    policy = client.state / "policy"
    if text is None:
        client.write_policy("event - * timeout_ms=1 mode=enforce")
        text = policy.read_bytes().partition(b"*\x20")[0][:-30]
        text = policy.read_bytes()[: policy.read_bytes().index(b"event") + 20]
    policy.write_bytes(text)
    check_runs_as_ever(client)
    assert {end.timeout_ms for end in client.spool().ends} == {2000}


def test_single_flipped_bit_never_changes_a_limit(client: Client) -> None:
    """A damaged line is absent: its limit is the built-in one, never another number."""
    client.write_policy("event - PreToolUse timeout_ms=60000 memory_bytes=99000000 mode=observe")
    policy = client.state / "policy"
    whole = policy.read_bytes()
    begin, end = whole.index(b"event"), whole.index(b"end 2")
    seen = set()
    for offset in range(begin, end, 3):
        broken = bytearray(whole)
        broken[offset] ^= 1 << offset % 8
        policy.write_bytes(broken)
        client.forget()
        client.hook("cat >/dev/null")
        last = client.last()
        seen.add((last.timeout_ms, last.memory_limit_bytes, str(last.enforcement)))
    assert seen == {(2000, 52428800, "enforce")}


def test_damaged_global_line_counts_as_absent(client: Client) -> None:
    client.write_policy("event - * timeout_ms=100", grace_ms=9000)
    policy = client.state / "policy"
    policy.write_bytes(policy.read_bytes().replace(b"grace_ms=9000", b"grace_ms=8000"))
    assert client.hook("trap '' TERM; sleep 20; sleep 20").status == 124
    assert client.last().stop_ns < 4_000_000_000


def test_policy_that_is_no_file(client: Client) -> None:
    policy = client.state / "policy"
    kinds: tuple[Callable[[], None], ...] = (
        policy.mkdir,
        lambda: os.mkfifo(policy),
        lambda: policy.symlink_to("/dev/zero"),
    )
    for make in kinds:
        if policy.is_dir():
            policy.rmdir()
        else:
            policy.unlink(missing_ok=True)
        make()
        check_runs_as_ever(client)


def test_policy_of_many_hooks(client: Client) -> None:
    statements = [f"hook - {index:016x} timeout_ms={index + 1000}" for index in range(500)]
    statements += [f"match - *never-{index}* timeout_ms=5" for index in range(500)]
    key = f"{fnv1a64(b'exit 3'):016x}"
    client.write_policy(*statements, f"hook - {key} timeout_ms=4321")
    assert client.hook("exit 3").status == 3
    assert client.last().timeout_ms == 4321


# --- starting the service -----------------------------------------------------------------------


@pytest.fixture
def starter(client: Client) -> Path:
    """Put a script in the place of the one that starts the service; return what it leaves."""
    script = client.state / "bin/start"
    script.write_text(
        "#!/bin/sh\necho noise; echo noise >&2\ncd $BETTER_CLAUDE_STATE\n"
        "readlink /proc/$$/fd/0 >asked.new; env | grep -c BETTER_CLAUDE_RUN >>asked.new\n"
        "cut -d' ' -f6 /proc/$$/stat >>asked.new\n"
        "mv asked.new asked\nsleep 1\n"
    )
    script.chmod(0o755)
    return client.state / "asked"


def set_autostart(client: Client, value: int) -> None:
    write_policy(client.state / "policy", f"global grace_ms=100 autostart={value}")


def test_service_is_started_when_it_is_down(client: Client, starter: Path) -> None:
    """At once, in the background, and as no part of the run."""
    set_autostart(client, 1)
    with client.start_hook("echo out") as running:
        finished = running.finish(event())
        session = running.process.pid
    assert (finished.status, finished.stdout, finished.stderr) == (0, b"out\n", b"")
    assert finished.wall_ns < 900_000_000
    assert wait_until(starter.exists, 3)
    stdin, runs, its_session = starter.read_text().splitlines()
    assert (stdin, runs) == ("/dev/null", "0")
    assert int(its_session) != session
    end = client.last()
    assert (end.leftovers, end.processes) == (0, 1)


def test_service_that_runs_is_not_started_again(client: Client, starter: Path) -> None:
    set_autostart(client, 1)
    with (client.state / "service.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert client.hook("echo out").stdout == b"out\n"
        time.sleep(0.3)
    assert not starter.exists()


def test_service_is_not_started_where_the_contract_says_so(client: Client, starter: Path) -> None:
    set_autostart(client, 0)
    client.hook("echo out")
    time.sleep(0.3)
    assert not starter.exists()


def test_starter_that_is_missing_or_broken(client: Client) -> None:
    set_autostart(client, 1)
    check_runs_as_ever(client)
    (client.state / "bin/start").write_text("no program")
    check_runs_as_ever(client)
    (client.state / "bin/start").chmod(0o755)
    check_runs_as_ever(client)


def test_launcher_lives_without_the_package(client: Client) -> None:
    """It is one static file: it needs no loader, no library and no other file of ours."""
    for name in ("policy", "spool"):
        path = client.state / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert launcher_binary().stat().st_size < 3 << 20
    check_runs_as_ever(client)


def ends_of(spool: Spool) -> list[Run]:
    return list(spool.ends)


def test_hundred_hooks_from_many_threads(client: Client) -> None:
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(lambda n: client.hook(f"exit {n % 200}").status, range(100)))
    assert results == [n % 200 for n in range(100)]
    assert sorted(end.exit for end in ends_of(client.spool())) == sorted(results)
