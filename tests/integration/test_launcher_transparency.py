"""A command behaves the same with and without the launcher: byte for byte and number for number."""

import ctypes
import os
import shutil
import signal
import string
import subprocess
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.integration.launcher_corpus import CORPUS, furnish
from tests.launcher_driver import RUN_VARIABLE, Client, Finished, event, quote, start
from tests.sandbox import Sandbox

CASES = [
    pytest.param(group, command, id=f"{group}-{index}")
    for group, commands in CORPUS.items()
    for index, command in enumerate(commands)
]
# These name the process or its place in the tree; a prefix of any kind changes them.
_EVENT = event("PreToolUse")


def view(finished: Finished, group: str = "") -> tuple[int, bytes, bytes]:
    """Return what must be equal: all of it, but for the one variable that we add."""
    return finished.status, _without_ours(finished.stdout, group), finished.stderr


def _without_ours(output: bytes, group: str) -> bytes:
    mark = RUN_VARIABLE.encode()
    if group != "environment":
        assert mark not in output
        return output
    # A shell writes its variables in the order of a hash table: only the set is the environment's.
    separator = b"\0" if b"\0" in output else b"\n"
    return separator.join(
        sorted(line for line in output.split(separator) if mark not in line.partition(b"=")[0])
    )


def check(client: Client, command: str | bytes, group: str = "", stdin: bytes = _EVENT) -> None:
    """Run ``command`` bare and through the launcher, each in a fresh folder, and compare."""
    views = []
    for run in (client.bare, client.hook):
        shutil.rmtree(client.project)
        furnish(client.project)
        views.append(view(run(command, stdin), group))
    assert views[1] == views[0]


@pytest.mark.parametrize(("group", "command"), CASES)
def test_hook_equals_bare_command(client: Client, group: str, command: str | bytes) -> None:
    check(client, command, group)


def test_corpus_is_recorded_truthfully(client: Client) -> None:
    """Exit code, outcome and the way of starting are right for every command of the corpus."""
    furnish_again(client)
    for command in CORPUS["exits"]:
        client.forget()
        finished = client.hook(command)
        end = client.last()
        assert end.exit == finished.status
        expected = {0: "ok", 2: "blocked"}.get(finished.status, "error")
        assert end.outcome == expected


def furnish_again(client: Client) -> None:
    shutil.rmtree(client.project)
    furnish(client.project)


@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"\n",
        b"not json at all",
        b"\x00\xff\xfe",
        b"{",
        b'{"hook_event_name":',
        b"[" * 100_000,
        b'{"hook_event_name":"PreToolUse"}' * 3,
        event(tool_input={"content": "x" * (1 << 20)}),
        event(padding="\u00e9\u2028" * 300_000),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("command", ["cat", "md5sum", "head -c 5", "cat >/dev/null; echo done"])
def test_any_stdin_passes_unchanged(client: Client, command: str, stdin: bytes) -> None:
    check(client, command, stdin=stdin)


@pytest.mark.parametrize("command", ["true", "echo unread; exit 3", "sleep 0.02", "exec <&-"])
def test_large_stdin_that_nobody_reads_does_not_block(client: Client, command: str) -> None:
    check(client, command, stdin=event(padding="x" * (1 << 20)))


def test_reads_stdin_as_it_arrives(client: Client) -> None:
    """What the client writes reaches a hook as it comes, not when all of it is there."""
    for spawn in (client.start_bare, client.start_hook):
        with spawn('read line; echo "$line"; cat') as running:
            assert running.stdin is not None and running.stdout is not None
            running.stdin.sendall(b'{"hook_event_name":"PreToolUse"}\n')
            running.stdin.sendall(b"rest\n")
            finished = running.finish()
            assert finished.stdout == b'{"hook_event_name":"PreToolUse"}\nrest\n'


@pytest.mark.parametrize(
    "path",
    [
        "",
        ":/usr/bin:/bin",
        ".:/usr/bin:/bin",
        "sub:/usr/bin:/bin",
        "/nonexistent:/usr/bin",
        "/a:b::",
    ],
)
@pytest.mark.parametrize("command", ["script.sh a", "inner", "ls", "dir-as-program", "noexec.sh"])
def test_search_path_is_the_shells(client: Client, path: str, command: str) -> None:
    """Empty elements, relative ones, files that are no programs: as a shell sees them."""
    (client.project / "sub").mkdir(exist_ok=True)
    check_with(client, command, PATH=path)


def check_with(client: Client, command: str | bytes, **variables: str) -> None:
    furnish_again(client)
    (client.project / "sub/dir-as-program").mkdir()
    bare = view(client.bare(command, **variables), "environment")
    furnish_again(client)
    (client.project / "sub/dir-as-program").mkdir()
    assert view(client.hook(command, **variables), "environment") == bare


def test_first_match_on_the_path_that_cannot_run_is_passed_over(client: Client) -> None:
    furnish_again(client)
    for folder, text, mode in (
        ("one", "#!/bin/sh\necho one\n", 0o644),
        ("two", "echo two\n", 0o755),
    ):
        (client.project / folder).mkdir()
        program = client.project / folder / "twice"
        program.write_text(text)
        program.chmod(mode)
    path = f"{client.project}/one:{client.project}/two:/bin"
    for command in ("twice", "twice a b", "twice; true"):
        bare = view(client.bare(command, PATH=path))
        assert view(client.hook(command, PATH=path)) == bare


@pytest.mark.parametrize(
    "variables",
    [
        {"HOME": ""},
        {"PATH": ""},
        {"PWD": ""},
        {"PWD": "/nonexistent"},
        {"SHLVL": ""},
        {"OLDPWD": "/tmp"},
        {"IFS": ":"},
        {"ENV": "sourced.sh"},
        {"BASH_ENV": "sourced.sh"},
        {"PS4": "trace "},
        {"POSIXLY_CORRECT": "1"},
        {"LC_ALL": "C"},
        {"A.B": "odd name"},
        {"BASH_FUNC_ls%%": "() { echo function; }"},
        {"_": ""},
        {"BETTER_CLAUDE_RUN": "0123456789abcdef"},
    ],
    ids=lambda variables: next(iter(variables)),
)
@pytest.mark.parametrize(
    "command", ["/usr/bin/env", "env; pwd", "ls a.txt", "./script.sh a:b", "echo $IFS"]
)
def test_environment_passes_unchanged(
    client: Client, command: str, variables: dict[str, str]
) -> None:
    check_with(client, command, **variables)


def test_run_id_is_all_that_is_added(client: Client) -> None:
    """The one variable that a child sees more is the run id that stands in the spool."""
    finished = client.hook("/usr/bin/env")
    (line,) = [x for x in finished.stdout.split(b"\n") if x.startswith(RUN_VARIABLE.encode())]
    assert line.decode() == f"{RUN_VARIABLE}={client.last().run}"


def test_deleted_working_folder(client: Client) -> None:
    for command in ("pwd -P", "/bin/pwd", "ls", "echo fine", "/bin/echo fine", "cd ..; pwd"):
        views = []
        for argv in ([client.shell, "-c", command], client.hook_argv(command)):
            folder = client.project / "gone"
            folder.mkdir()
            environment = client.environment(PWD=str(folder))
            with start(argv, environment, folder, before=folder.rmdir) as running:
                finished = running.finish(_EVENT)
            # Every shell complains once at its start; behind a prefix there is one more of them.
            talk = [x for x in finished.stderr.split(b"\n") if not x.startswith(b"sh: 0: getcwd")]
            views.append((finished.status, finished.stdout, talk))
        assert views[1] == views[0], command


def _ignore(*numbers: int) -> Callable[[], None]:
    def before() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return before


def _block(*numbers: int) -> Callable[[], None]:
    return lambda: (signal.pthread_sigmask(signal.SIG_BLOCK, numbers), None)[1]


def _limits() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o137)
    os.nice(2)


INHERITED = "grep -E '^Sig(Blk|Ign)' /proc/self/status; umask; nice; ulimit -n; ls /proc/self/fd"


@pytest.mark.parametrize(
    "before",
    [
        _ignore(signal.SIGPIPE),
        _ignore(signal.SIGINT, signal.SIGQUIT),
        _ignore(signal.SIGHUP),
        _ignore(signal.SIGTERM),
        _ignore(signal.SIGCHLD),
        _block(signal.SIGTERM, signal.SIGUSR1),
        _block(signal.SIGCHLD),
        _limits,
    ],
    ids=["pipe", "int", "hup", "term", "chld", "blocked", "blocked-chld", "limits"],
)
@pytest.mark.parametrize(
    "command",
    [
        INHERITED,
        "/bin/grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status",
        "yes | head -1",
        "sh -c 'exit 3'",
        "/bin/grep Sig[BIC] /proc/self/status; true",
        "exit 7",
        "false",
    ],
    ids=range(7),
)
def test_inherited_state_passes_unchanged(
    client: Client, command: str, before: Callable[[], None]
) -> None:
    """Ignored and blocked signals, limits, umask and niceness reach the command as without us."""
    views = []
    for argv in ([client.shell, "-c", command], client.hook_argv(command)):
        with start(argv, client.environment(), client.project, before=before) as running:
            views.append(view(running.finish(_EVENT)))
    assert views[1] == views[0]


def test_extra_descriptor_is_inherited(client: Client) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        path = f"/proc/self/fd/{write}"
        for command in (f"echo through >{path}", f"/bin/sh -c 'echo through >{path}'"):
            argv = client.hook_argv(command)
            keep = (write,)
            with start(argv, client.environment(), client.project, keep=keep) as running:
                assert running.finish(_EVENT).status == 0
            assert os.read(read, 100) == b"through\n"
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "command", ["echo hi; exit 4", "/bin/echo hi", "cat; exit 5", "ls missing"]
)
def test_closed_standard_streams(client: Client, closed: str, command: str) -> None:
    """A standard stream that is closed stays closed, and nothing of ours lands in its number."""
    line = f"{quote(client.prefix).decode()} {quote(command).decode()} {closed}"
    bare = client.bare(f"/bin/sh -c {quote(command).decode()} {closed}")
    assert view(client.bare(line)) == view(bare)


@pytest.mark.parametrize("kind", ["file", "null", "pipe"])
@pytest.mark.parametrize(
    "command",
    [
        "cat",
        "cat; echo err >&2",
        "head -n 1; echo; cat",
        "echo out",
        "/bin/echo out",
        "test -f /dev/stdin",
        "test -p /dev/stdin",
        "cat /dev/stdin",
        "stat -L -c %F /dev/stdin /dev/stdout",
    ],
)
def test_streams_that_are_no_sockets(client: Client, kind: str, command: str) -> None:
    """Files, pipes and /dev/null in place of the client's sockets work as they do without us."""
    text = quote(command).decode()
    around = {
        "file": "{} <words.in >words.out 2>words.err; echo $?; cat words.out words.err",
        "null": "{} </dev/null; echo $?",
        "pipe": "cat words.in | {} 2>&1 | cat; echo $?",
    }[kind]
    (client.project / "words.in").write_bytes(_EVENT + b"\nsecond line\n")
    views = [
        view(client.bare(around.format(program)))
        for program in (f"/bin/sh -c {text}", f"{quote(client.prefix).decode()} {text}")
    ]
    assert views[1] == views[0]


@pytest.mark.parametrize("after", ["2>&1 | cat", "2>&1"], ids=["pipe", "socket"])
def test_order_of_what_goes_to_one_stream(client: Client, after: str) -> None:
    """Where stdout and stderr are one, what is written first arrives first."""
    command = "for i in $(seq 200); do echo out $i; echo err $i >&2; done"
    finished = client.bare(f"{quote(client.prefix).decode()} {quote(command).decode()} {after}")
    lines = [f"{name} {number}" for number in range(1, 201) for name in ("out", "err")]
    assert finished.stdout.decode().splitlines() == lines


def test_own_death_by_signal_reads_as_behind_any_prefix(client: Client) -> None:
    """A shell that kills itself behind a prefix is reported by the shell before it: 128 + n.

    No prefix can hide that: ``env`` is the reference.
    """
    for number in (1, 2, 3, 6, 9, 11, 13, 14, 15):
        command = f"echo before; kill -{number} $$; sleep 5"
        text = quote(command).decode()
        reference = client.bare(f"env sh -c {text}")
        client.forget()
        assert view(client.hook(command)) == view(reference)
        assert (client.last().signal, client.last().exit) == (number, -1)


@pytest.mark.parametrize("group", CORPUS)
def test_where_sh_is_bash(client: Client, group: str) -> None:
    """Where /bin/sh is bash the results are bash's: run in a mount namespace in which it is.

    What ``$_`` names before the first command is lost with any prefix, so it is not compared.
    """
    if not namespaces_work():
        pytest.skip("the system grants us no mount namespace in which to put bash for sh")
    different = []
    for command in CORPUS[group]:
        views = []
        for argv in ([client.shell, "-c", command], client.hook_argv(command)):
            furnish_again(client)
            with start(argv, client.environment(), client.project, before=bash_is_sh) as running:
                finished = running.finish(_EVENT)
            lines = view(finished, group)[1].split(b"\n")
            starts = (b"export _=", b"declare -x _=")
            output = [line for line in lines if not line.startswith(starts)]
            views.append((finished.status, output, finished.stderr))
        if views[0] != views[1] and command != "/bin/echo $_":
            different.append((command, *views))
    assert not different


@cache
def namespaces_work() -> bool:
    try:
        subprocess.run(["/bin/true"], preexec_fn=bash_is_sh, check=True)
    except subprocess.SubprocessError:
        return False
    return True


def bash_is_sh() -> None:
    """Enter a mount namespace of our own and put bash where sh is."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts, new_user = 0x00020000, 0x10000000
    if libc.unshare(new_mounts | (new_user if os.geteuid() else 0)) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    private, bind = 0x40000 | 0x4000, 0x1000
    if libc.mount(b"none", b"/", None, private, None) != 0:
        raise OSError(ctypes.get_errno(), "mount private")
    real = os.fsencode(os.path.realpath("/bin/sh"))
    if libc.mount(os.fsencode(os.path.realpath("/bin/bash")), real, None, bind, None) != 0:
        raise OSError(ctypes.get_errno(), "mount bash")


# Pieces from which commands are put together: what shells treat specially, and what they do not.
_PIECES = [
    *list("abc 0=~#*?[]{}()<>;!$`'\"\\%^,:@+-./_\n\t"),
    "/bin/echo ",
    "echo ",
    "true",
    "$HOME",
    "a=1 ",
    "2>&1",
    ">out",
    "<a.txt",
    "<<E\nx\nE\n",
    "if ",
    "then ",
    "fi",
    "do ",
    "done",
    "case ",
    "in ",
    "$(",
    "${",
    "$((",
    "&&",
    "||",
    ";;",
    "exit 3",
    "é",
    "\u2028",
    "\x01",
    "\x7f",
    "cat",
    "ls ",
    "./script.sh",
    "a.txt",
    "cd sub",
    "pwd",
]
_COMMANDS = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=9).map("".join),
    st.lists(st.sampled_from(_PIECES), max_size=6).map(
        lambda pieces: "/bin/echo " + "".join(pieces)
    ),
    st.text(
        st.sampled_from(
            [c for c in string.printable if c not in "|&"] + list("\u00e9\u00ff\u20ac")
        ),
        max_size=12,
    ).map(lambda text: f"/bin/echo {text}"),
)
# What does not come to the same end twice: process ids, and (by its absence above) "|", whose
# two sides race for the same stream.
_WILD = ("$$",)


@settings(
    max_examples=int(os.environ.get("LAUNCHER_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(command=_COMMANDS)
def test_any_command_equals_bare(module_client: Client, command: str) -> None:
    assume(not any(word in command for word in _WILD))
    check(module_client, command)


def test_command_line_of_any_size(client: Client) -> None:
    for size in (4_000, 70_000, 120_000):
        check(client, "/bin/echo " + "x" * size)
        check(client, "echo " + "x" * size + "; exit 3")


def test_many_arguments(client: Client) -> None:
    check(client, "/bin/echo " + " ".join(map(str, range(20_000))))


def test_tests_can_fail(sandbox: Sandbox, client: Client) -> None:
    """The comparison sees a prefix that swallows one byte, one status or one variable."""
    for flaw in (
        'echo; exec /bin/sh -c "$1"',
        '/bin/sh -c "$1"; exit 0',
        'X=1 exec /bin/sh -c "$1"',
    ):
        (client.state / "bin/launcher").unlink()
        (client.state / "bin/launcher").write_text(f"#!/bin/sh\nexport X\n{flaw}\n")
        (client.state / "bin/launcher").chmod(0o755)
        with pytest.raises(AssertionError):
            check(client, "env; exit 3", "environment")
