"""The reading verbs on a small store: what they select, print and say."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from better_claude.commands import main
from better_claude.model import Mode, Outcome, Run, RunStart, SessionSample, fnv1a64
from better_claude.store.writer import Writer

MS = 1_000_000
SECOND = 1_000_000_000
SESSION = "3f2a9c1e-8d1b-4f6e-9d5a-0c2b7e4f1a33"
HOSTILE = "python3 '/x/\x1b[2J[red]evil[/red]\x1b]0;title\x07\u202e.py'"
READING = ["status", "hooks", "runs", "sessions", "top"]


def key_of(command: str) -> str:
    return f"{fnv1a64(command.encode()):016x}"


def run(number: int, command: str, age_s: float, **changes: object) -> Run:
    fields: dict[str, object] = {
        "run": f"{number:016x}",
        "start_ns": time.time_ns() - int(age_s * SECOND),
        "wall_ns": 30 * MS,
        "mode": Mode.HOOK,
        "key": key_of(command),
        "outcome": Outcome.OK,
        "command": command,
        "session": SESSION,
        "event": "PreToolUse",
        "exit": 0,
        "timeout_ms": 2000,
    }
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


GUARD = "python3 ~/.claude/hooks/guard.py"
RUNS = [
    run(1, GUARD, 10),
    run(2, GUARD, 20, outcome=Outcome.BLOCKED, exit=2),
    run(3, "~/fmt.sh", 30, event="PostToolUse", outcome=Outcome.TIMEOUT, wall_ns=5 * SECOND),
    run(4, GUARD, 7200, session="77777777-other"),
    run(5, HOSTILE, 40),
    run(6, "", 15, mode=Mode.TOOL, key=key_of("Bash"), event="", tool="Bash"),
]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a few runs, one of them unfinished, and a sampled session."""
    now = time.time_ns()
    start = RunStart(
        run=f"{99:016x}",
        start_ns=now - SECOND,
        mode=Mode.HOOK,
        key=key_of(GUARD),
        launcher_pid=77,
        launcher_ticks=1,
        command=GUARD,
        session=SESSION,
        project="/home/u/shop",
        event="PreToolUse",
    )
    samples = [
        SessionSample(
            time_ns=now - age * SECOND,
            session=SESSION,
            claude_pid=4242,
            processes=3,
            cpu_ns=(4 - age) * SECOND // 2,
            anon_bytes=100 << 20,
            rss_bytes=1,
        )
        for age in (3, 1)
    ]
    with Writer.open(tmp_path / "store.db") as writer:
        writer.commit([*RUNS, start, *samples])
    return tmp_path


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(state: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a verb on the small store and return its status, output and talk."""

    def verb(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--state", str(state)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return verb


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def numbers(text: str) -> set[int]:
    return {int(str(record["run"]), 16) for record in records(text)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {1, 2, 3, 4, 5, 6}),
        (["--since", "1h"], {1, 2, 3, 5, 6}),
        (["--until", "1h"], {4}),
        (["--since", "all"], {1, 2, 3, 4, 5, 6}),
        (["--hook", "guard.py"], {1, 2, 4}),
        (["--hook", key_of("~/fmt.sh")], {3}),
        (["--hook", "*fmt*"], {3}),
        (["--event", "PostToolUse"], {3}),
        (["--session", "7777"], {4}),
        (["--outcome", "blocked"], {2}),
        (["--mode", "tool"], {6}),
        (["--hook", "nobody"], set()),
        (["--limit", "1"], {1}),
    ],
)
def test_filters(call: Call, words: list[str], expected: set[int]) -> None:
    code, out, _ = call("runs", "--json", *words)
    assert code == 0
    assert numbers(out) == expected


def test_hooks_are_hooks_only_and_sorted(call: Call) -> None:
    _, out, _ = call("hooks", "--json")
    assert next(record["name"] for record in records(out)) == "fmt.sh"
    assert {record["mode"] for record in records(out)} == {"hook"}
    _, out, _ = call("hooks", "--json", "--sort", "runs", "--limit", "1")
    assert [(record["name"], record["runs"]) for record in records(out)] == [("guard.py", 3)]


def test_hooks_as_a_table(call: Call) -> None:
    code, out, err = call("hooks", "--event", "PostToolUse")
    assert code == 0
    head, row = out.splitlines()
    assert head.split()[:6] == ["hook", "event", "runs", "failed", "why", "p50"]
    assert row.startswith("fmt.sh  PostToolUse     1       1  1 timeout  5 s")
    assert err == "\n1 hook · 1 run · 1 failed · last 24h\n"


def test_quiet_leaves_only_data(call: Call) -> None:
    for verb in READING:
        words = ["--once"] if verb == "top" else []
        assert call(verb, "--quiet", *words)[2] == ""


def test_status_names_what_runs_and_what_failed(call: Call) -> None:
    _, out, err = call("status")
    assert "service   down" in out
    assert "last 24h  1 of 5 runs failed · 1 timeout" in out
    assert re.search(r"^guard.py +hook +PreToolUse +\S+ s +2 s +77 +3f2a9c1e$", out, re.MULTILINE)
    assert "next: better-claude runs --outcome timeout" in err


def test_status_as_one_record(call: Call) -> None:
    _, out, _ = call("status", "--json")
    [record] = records(out)
    assert record["kind"] == "status"
    assert record["mode"] == "enforce"
    assert record["service"]["running"] is False  # type: ignore[index]
    assert [each["kind"] for each in record["slowest"]] == ["hook"] * 3  # type: ignore[attr-defined]


def test_sessions(call: Call) -> None:
    _, out, _ = call("sessions", "--json", "--session", "3f2a")
    [record] = records(out)
    assert (record["kind"], record["hook_runs"], record["hook_failures"]) == ("session", 4, 1)
    _, out, _ = call("sessions")
    assert "3f2a9c1e  shop" in out


def test_top_once(call: Call) -> None:
    _, out, _ = call("top", "--once")
    assert re.search(r"^guard.py +hook +PreToolUse", out, re.MULTILINE)
    assert re.search(r"^3f2a9c1e  shop +4242 +3 +50% +100 MB", out, re.MULTILINE)
    _, out, _ = call("top", "--json")
    assert [record["kind"] for record in records(out)] == ["running", "load"]


@pytest.mark.parametrize("verb", READING)
def test_what_comes_from_outside_has_no_power(call: Call, verb: str) -> None:
    for words in ([], ["--json"]):
        _, out, _ = call(verb, *words)
        assert all(line.isprintable() for line in out.splitlines())
    if verb in ("hooks", "runs"):
        assert "[red]evil[/red]" in call(verb)[1]


@pytest.mark.parametrize("verb", READING)
def test_an_empty_machine_is_told_what_to_do(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, "--state", str(tmp_path / "none")]) == 0
    captured = capsys.readouterr()
    assert "better-claude run -- claude" in captured.err
    assert not (tmp_path / "none").exists()
    assert main([verb, "--json", "--state", str(tmp_path / "none")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (1 if verb == "status" else 0)


def test_the_sample_is_labelled_everywhere(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "with"
    folder.mkdir()
    (folder / "sample").symlink_to(state)
    for verb in READING:
        words = [verb, "--sample", "--state", str(folder)]
        assert main([*words, *(["--once"] if verb == "top" else [])]) == 0
        assert capsys.readouterr().out.startswith("SAMPLE DATA\n")
        assert main([*words, "--json"]) == 0
        assert all(record["sample"] is True for record in records(capsys.readouterr().out))


def test_an_old_sample_is_still_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sample").mkdir()
    with Writer.open(tmp_path / "sample/store.db") as writer:
        writer.commit([run(1, GUARD, 30 * 86_400)])
    assert main(["hooks", "--sample", "--state", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert "guard.py" in captured.out
    assert captured.err.endswith("all time\n")


def test_records_of_real_work_are_not_called_a_sample(call: Call) -> None:
    for verb in READING:
        assert not any("sample" in record for record in records(call(verb, "--json")[1]))


def test_no_sample_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hooks", "--sample", "--state", str(tmp_path)]) == 0
    assert "better-claude welcome" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        (["--since", "soon"], "bad-time"),
        (["--since", "1h", "--until", "2h"], "empty-window"),
    ],
)
def test_times_that_mean_nothing(call: Call, words: list[str], slug: str) -> None:
    code, out, err = call("runs", *words)
    assert (code, out) == (2, "")
    assert f"[{slug}]" in err


@pytest.mark.parametrize(
    "words", [["--limit", "0"], ["--limit", "x"], ["--outcome", "bad"], ["--sort", "bad"]]
)
def test_options_that_mean_nothing(call: Call, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call("runs", *words)
    assert caught.value.code == 2


def test_a_store_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    assert main(["hooks", "--state", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(tmp_path / "store.db") in captured.err


@pytest.fixture
def contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "contract.toml"
    monkeypatch.setenv("BETTER_CLAUDE_CONTRACT", str(path))
    return path


@pytest.mark.parametrize("words", [["status"], ["hooks"], ["top", "--once"]])
def test_a_broken_contract_takes_nothing_away(call: Call, contract: Path, words: list[str]) -> None:
    contract.write_text("hook_timeouts = \n")
    code, out, _ = call(*words)
    assert code == 0
    assert re.search(
        rf"^contract +broken, built-in limits shown · {contract} cannot be read", out, re.MULTILINE
    )
    assert re.search(r"^guard\.py .* 2 s ", out, re.MULTILINE)


def test_a_broken_contract_as_a_record(call: Call, contract: Path) -> None:
    assert records(call("status", "--json")[1])[0]["contract_error"] == ""
    contract.write_text("nonsense")
    _, out, _ = call("status", "--json")
    [record] = records(out)
    assert str(record["contract_error"]).startswith(str(contract))
    assert record["contract"] == "built-in"
    assert "contract show" in call("status")[2]


@pytest.mark.parametrize(
    "text", ['mode = "enforce"', '[hook."guard.py"]\ntimeout = "9s"', '[memory]\nhook = "9MB"']
)
def test_status_names_the_contract_that_says_anything(
    call: Call, contract: Path, text: str
) -> None:
    contract.write_text("# nothing yet\n")
    assert "contract  enforce · built-in" in call("status")[1]
    contract.write_text(text)
    assert f"contract  enforce · {contract}" in call("status")[1]
    assert records(call("status", "--json")[1])[0]["contract"] == str(contract)


def test_an_outcome_goes_by_both_of_its_names(state: Path, call: Call) -> None:
    with Writer.open(state / "store.db") as writer:
        writer.commit([run(50, GUARD, 5, outcome=Outcome.OVER_MEMORY)])
    for name in ("memory", "over_memory"):
        assert numbers(call("runs", "--json", "--outcome", name)[1]) == {50}


def test_an_unknown_outcome_lists_those_there_are(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call("runs", "--outcome", "slow")
    assert f"'slow' is none of: {', '.join(Outcome)}" in capsys.readouterr().err
