import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.records import BEGIN_NS, COMMAND, HOUR_NS, MS, key_of, make_run, make_start

from better_claude.collect.marks import Reject, SpoolMark
from better_claude.contract.tree import Limits
from better_claude.errors import StoreError
from better_claude.model import (
    ApiCall,
    Compaction,
    Enforcement,
    HistoryRun,
    Mode,
    Outcome,
    SessionSample,
    Source,
    ToolCall,
)
from better_claude.store import summaries
from better_claude.store.reader import Reader, open_reader
from better_claude.store.views import CallSummary, HookSummary, Percentiles, RunFilter, StoredRun
from better_claude.store.writer import Writer

S = 1_000_000_000
OTHER = "~/bin/lint.sh {file}"


class StoppedClock:
    """A clock that stands."""

    def wall_ns(self) -> int:
        return BEGIN_NS + HOUR_NS

    def monotonic_ns(self) -> int:
        return 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    with Writer.open(path, StoppedClock()) as writer:
        yield writer


@pytest.fixture
def reader(path: Path, writer: Writer) -> Iterator[Reader]:
    with open_reader(path) as reader:
        yield reader


def history(ident: str, duration_ms: int, **members: Any) -> HistoryRun:
    defaults: dict[str, Any] = {
        "time_ns": BEGIN_NS,
        "session": "s-1",
        "event": "Stop",
        "name": "Stop",
        "command": COMMAND,
        "key": key_of(COMMAND),
        "outcome": Outcome.OK,
    }
    return HistoryRun(ident=ident, duration_ms=duration_ms, **defaults | members)


def only(summaries: list[HookSummary]) -> HookSummary:
    (summary,) = summaries
    return summary


def test_a_missing_store_reads_as_an_empty_one(tmp_path: Path) -> None:
    with open_reader(tmp_path / "none.db") as reader:
        assert not reader.recorded
        status = reader.status(0, BEGIN_NS)
        assert (status.recorded, status.runs, status.running, status.slowest) == (False, 0, (), ())
        assert status.outcomes == status.quarantine == {}
        assert reader.hook_summaries() == []
        assert reader.hook_summaries(RunFilter(source=Source.TRANSCRIPT)) == []
        assert reader.runs() == []
        assert reader.running() == []
        assert reader.sessions() == []
        assert reader.samples(0) == []
        assert reader.would_have_stopped(lambda *_, **__: pytest.fail("no hook")) == []
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_still_empty_reads_as_an_empty_store(path: Path) -> None:
    path.touch()
    with open_reader(path) as reader:
        assert not reader.recorded
        assert reader.runs() == []


def test_a_reader_cannot_write(reader: Reader) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM runs")


def test_a_reader_sees_commits_made_after_it_was_opened(reader: Reader, writer: Writer) -> None:
    assert reader.runs() == []
    writer.commit([make_run()])
    assert len(reader.runs()) == 1


def test_a_store_that_its_writer_left_is_still_readable(path: Path) -> None:
    with Writer.open(path) as writer:
        writer.commit([make_run()])
    assert not path.with_name("store.db-wal").exists()
    with open_reader(path) as reader:
        assert len(reader.runs()) == 1


def test_damage_is_told(path: Path) -> None:
    with Writer.open(path) as writer:
        writer.commit([make_run(n) for n in range(1, 3000)])
    data = bytearray(path.read_bytes())
    half = len(data) // 2  # the schema is in the first
    data[half:] = b"\xa5" * (len(data) - half)
    path.write_bytes(data)
    with open_reader(path) as reader, pytest.raises(StoreError) as caught:
        reader.runs()
    assert caught.value.slug == "store-damaged"


def test_a_run_comes_back_as_it_went_in(reader: Reader, writer: Writer) -> None:
    run = make_run(
        0xFEDC_BA98_7654_3210,
        start_ns=BEGIN_NS,
        wall_ns=1,
        outcome=Outcome.OVER_MEMORY,
        claude_pid=2,
        tool="Bash",
        prompt="p",
        tool_use="toolu_1",
        agent="a",
        exit=-1,
        signal=9,
        breach="memory",
        enforcement=Enforcement.OBSERVE,
        timeout_ms=3,
        memory_limit_bytes=4,
        user_ns=5,
        sys_ns=6,
        anon_peak_bytes=7,
        anon_source="cgroup",
        rss_peak_bytes=8,
        disk_read_bytes=9,
        disk_write_bytes=10,
        stdin_bytes=11,
        stdout_bytes=12,
        stderr_bytes=13,
        ctx_voluntary=14,
        ctx_involuntary=15,
        processes=16,
        leftovers=17,
        leftover_names="a,b",
        stop_ns=18,
        overhead_ns=19,
        exec="direct",
    )
    writer.commit([run])
    (found,) = reader.runs()
    assert found.name == "guard.py"
    assert found.source is Source.LAUNCHER
    assert {name: getattr(found, name) for name in run.__struct_fields__} == {
        name: getattr(run, name) for name in run.__struct_fields__
    }


def test_runs_are_newest_first_over_all_hooks(reader: Reader, writer: Writer) -> None:
    writer.commit([make_run(n, command=(COMMAND, OTHER)[n % 2]) for n in (3, 1, 5, 2, 4)])
    assert [int(run.run) for run in reader.runs()] == [5, 4, 3, 2, 1]
    assert [int(run.run) for run in reader.runs(limit=2)] == [5, 4]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (RunFilter(hook="guard.py"), [4, 1]),
        (RunFilter(hook=key_of(COMMAND)), [4, 1]),
        (RunFilter(hook="*.sh"), [3, 2]),
        (RunFilter(hook="*hooks/guard*"), [4, 1]),
        (RunFilter(hook="guard"), []),
        (RunFilter(hook="%"), []),
        (RunFilter(event="Stop"), [4, 3]),
        (RunFilter(event="Nothing"), []),
        (RunFilter(session="aa"), [2, 1]),
        (RunFilter(session="a%"), []),
        (RunFilter(session="zz"), []),
        (RunFilter(outcome=Outcome.ERROR), [2]),
        (RunFilter(mode=Mode.TOOL), [3]),
        (RunFilter(since_ns=BEGIN_NS + 2 * S), [4, 3, 2]),
        (RunFilter(until_ns=BEGIN_NS + 2 * S), [1]),
        (RunFilter(since_ns=BEGIN_NS + 2 * S, until_ns=BEGIN_NS + 4 * S, hook="*"), [3, 2]),
        (RunFilter(hook="guard.py", event="Stop", session="bb"), [4]),
        (RunFilter(source=Source.TRANSCRIPT), []),
    ],
)
def test_filters(reader: Reader, writer: Writer, wanted: RunFilter, numbers: list[int]) -> None:
    writer.commit(
        [
            make_run(1, session="aa-1"),
            make_run(2, session="aa-2", command=OTHER, outcome=Outcome.ERROR),
            make_run(3, session="bb", command=OTHER, event="Stop", mode=Mode.TOOL),
            make_run(4, session="bb", event="Stop"),
        ]
    )
    assert [int(run.run) for run in reader.runs(wanted)] == numbers
    assert sum(hook.runs for hook in reader.hook_summaries(wanted)) == len(numbers)


def test_running_runs_are_filtered_too(reader: Reader, writer: Writer) -> None:
    writer.commit([make_start(1), make_start(2, command=OTHER, session="x", event="")])
    assert [run.name for run in reader.running()] == ["guard.py", "lint.sh"]
    assert [run.run for run in reader.running(RunFilter(hook="lint.sh"))] == [f"{2:016x}"]
    assert [run.session for run in reader.running(RunFilter(session="x"))] == ["x"]
    assert len(reader.running(RunFilter(event="PreToolUse"))) == 1
    assert len(reader.running(RunFilter(since_ns=BEGIN_NS + 2 * S))) == 1
    assert len(reader.running(RunFilter(until_ns=BEGIN_NS + 2 * S))) == 1
    assert reader.running()[0].launcher_pid == 1001
    assert reader.running()[0].launcher_ticks == 5001


def test_a_summary_of_one_run(reader: Reader, writer: Writer) -> None:
    writer.commit(
        [make_run(wall_ns=5, user_ns=3, sys_ns=4, anon_peak_bytes=9, stdin_bytes=2, overhead_ns=8)]
    )
    assert only(reader.hook_summaries()) == HookSummary(
        key=key_of(COMMAND),
        name="guard.py",
        command=COMMAND,
        mode=Mode.HOOK,
        event="PreToolUse",
        source=Source.LAUNCHER,
        runs=1,
        failures=0,
        outcomes={"ok": 1},
        wall_ns=Percentiles(5, 5, 5, 5),
        wait_ns=5,
        last_start_ns=BEGIN_NS + S,
        exact=True,
        anon_peak_bytes=9,
        cpu_mean_ns=7,
        stdin_bytes=2,
        overhead_median_ns=8,
    )


def test_percentiles_are_by_nearest_rank(reader: Reader, writer: Writer) -> None:
    writer.commit([make_run(n, wall_ns=n * MS) for n in range(1, 101)])
    assert only(reader.hook_summaries()).wall_ns == Percentiles(50 * MS, 95 * MS, 99 * MS, 100 * MS)


def test_failures_are_what_went_wrong(reader: Reader, writer: Writer) -> None:
    writer.commit(
        [
            make_run(number, outcome=outcome, breach="time" if number == 4 else "")
            for number, outcome in enumerate(list(Outcome)[:7], start=1)
        ]
    )
    summary = only(reader.hook_summaries())
    assert summary.outcomes == {outcome.value: 1 for outcome in list(Outcome)[:7]}
    assert (summary.runs, summary.failures, summary.breaches_time) == (7, 4, 1)


def test_events_of_a_hook_are_apart_and_the_most_waited_for_first(
    reader: Reader, writer: Writer
) -> None:
    writer.commit([make_run(1), make_run(2, event="Stop", wall_ns=90 * MS)])
    assert [hook.event for hook in reader.hook_summaries()] == ["Stop", "PreToolUse"]


def near(one: HookSummary, other: HookSummary) -> None:
    """Compare all but what a sketch may change, and that to 1%."""
    for name in ("p50", "p95", "p99"):
        exact = getattr(other.wall_ns, name)
        assert abs(getattr(one.wall_ns, name) - exact) <= exact / 100
    assert abs(one.overhead_median_ns - other.overhead_median_ns) <= (
        other.overhead_median_ns / 100 + 1
    )
    for name in one.__struct_fields__:
        if name not in ("wall_ns", "overhead_median_ns", "exact"):
            assert getattr(one, name) == getattr(other, name), name
    assert one.wall_ns.maximum == other.wall_ns.maximum


@pytest.mark.parametrize(
    ("since", "until"),
    [(0, None), (0.5, None), (1, 4), (1.5, 4.5), (2.2, 2.8), (2.5, 3.5), (2, 2), (9, None)],
)
def test_hours_and_rows_answer_alike(
    reader: Reader,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    since: float,
    until: float | None,
) -> None:
    writer.commit(
        [
            make_run(
                n,
                start_ns=BEGIN_NS + n * HOUR_NS // 40,
                wall_ns=(n * 7919 % 97 + 1) * MS,
                command=(COMMAND, OTHER)[n % 2],
                event=("Stop", "PreToolUse")[n % 3 == 0],
                outcome=list(Outcome)[n % 7],
                overhead_ns=n * 1000,
                disk_read_bytes=n,
                breach=("", "time", "memory")[n % 3],
            )
            for n in range(240)
        ]
    )
    wanted = RunFilter(
        since_ns=BEGIN_NS + int(since * HOUR_NS),
        until_ns=None if until is None else BEGIN_NS + int(until * HOUR_NS),
    )
    exact = reader.hook_summaries(wanted)
    monkeypatch.setattr(summaries, "EXACT_RUNS", -1)
    sketched = reader.hook_summaries(wanted)
    assert len(sketched) == len(exact)
    for one, other in zip(sketched, exact, strict=True):
        near(one, other)


def test_expired_rows_still_count_in_their_hours(reader: Reader, writer: Writer) -> None:
    writer.commit([make_run(n, start_ns=BEGIN_NS + n * HOUR_NS) for n in range(10)])
    writer.expire(BEGIN_NS + 5 * HOUR_NS)
    assert len(reader.runs()) == 5
    summary = only(reader.hook_summaries())
    assert (summary.runs, summary.exact) == (10, False)
    later = only(reader.hook_summaries(RunFilter(since_ns=BEGIN_NS + 5 * HOUR_NS)))
    assert (later.runs, later.exact) == (5, True)


def test_history_is_apart_and_may_not_know(reader: Reader, writer: Writer) -> None:
    writer.commit(
        [
            make_run(),
            history("a", 10),
            history("b", 30, outcome=Outcome.TIMEOUT),
            history("c", -1, outcome=Outcome.UNKNOWN, time_ns=BEGIN_NS + S),
        ]
    )
    assert only(reader.hook_summaries()).runs == 1
    summary = only(reader.hook_summaries(RunFilter(source=Source.TRANSCRIPT)))
    assert (summary.runs, summary.failures, summary.wait_ns) == (3, 1, 40 * MS)
    assert summary.wall_ns == Percentiles(10 * MS, 30 * MS, 30 * MS, 30 * MS)
    assert summary.outcomes == {"ok": 1, "timeout": 1, "unknown": 1}
    newest, *_ = reader.runs(RunFilter(source=Source.TRANSCRIPT))
    assert newest == StoredRun(
        name="guard.py",
        source=Source.TRANSCRIPT,
        run="c",
        start_ns=BEGIN_NS + S,
        wall_ns=-1,
        mode=Mode.HOOK,
        key=key_of(COMMAND),
        outcome=Outcome.UNKNOWN,
        command=COMMAND,
        session="s-1",
        event="Stop",
    )


def test_a_session_with_everything(reader: Reader, writer: Writer) -> None:
    def api(ident: str, second: int, source: Source = Source.TELEMETRY, **members: Any) -> ApiCall:
        return ApiCall(BEGIN_NS + second * S, "s-1", "m", source, ident, **members)

    writer.commit(
        [
            make_run(1, wall_ns=5 * S),
            make_run(2, outcome=Outcome.ERROR),
            make_run(3, mode=Mode.TOOL, command=""),
            make_start(9),
            history("h", 10),
            ToolCall(BEGIN_NS, "s-1", "Bash", Source.TELEMETRY, "t1", duration_ms=40, ok=False),
            ToolCall(BEGIN_NS, "s-1", "Bash", Source.TRANSCRIPT, "t1", duration_ms=99),
            ToolCall(BEGIN_NS, "s-1", "Bash", Source.TRANSCRIPT, "t2", duration_ms=7),
            api("r1", 100, duration_ms=900, ttft_ms=300, input_tokens=5, cost_usd=0.25),
            api("r2", 200, duration_ms=100, output_tokens=3, cost_usd=0.5, ok=False),
            api("m1", 100, Source.TRANSCRIPT, duration_ms=950, input_tokens=5),  # r1 again
            api("m0", 10, Source.TRANSCRIPT, input_tokens=2),  # before telemetry
            Compaction(BEGIN_NS, "s-1", Source.TELEMETRY, "c1"),
            Compaction(BEGIN_NS, "s-1", Source.TRANSCRIPT, "c1"),
            Compaction(BEGIN_NS, "s-1", Source.TRANSCRIPT, "c0"),
            SessionSample(BEGIN_NS, "s-1", 7, 3, 100, 1000, 2000, disk_read_bytes=5),
            SessionSample(BEGIN_NS + S, "s-1", 7, 2, 150, 900, 2500, disk_read_bytes=6),
            SessionSample(BEGIN_NS + S, "s-1", 8, 1, 10, 1, 2),
        ]
    )
    (session,) = reader.sessions()
    assert (session.session, session.project) == ("s-1", "/home/me/project")
    assert (session.first_ns, session.last_ns) == (BEGIN_NS, BEGIN_NS + 200 * S)
    assert (session.hook_runs, session.hook_failures, session.history_runs) == (2, 1, 1)
    assert session.hook_wait_ns == 5 * S + 20 * MS
    assert session.running == 1
    assert session.tools == CallSummary(2, 1, 40, 40)
    assert session.api == CallSummary(3, 1, 900, 900)
    assert (session.ttft_p95_ms, session.cost_usd) == (300, 0.75)
    assert (session.input_tokens, session.output_tokens) == (7, 3)
    assert session.compactions == 2
    assert (session.processes_peak, session.anon_peak_bytes, session.rss_peak_bytes) == (
        3,
        1000,
        2500,
    )
    assert (session.cpu_ns, session.disk_read_bytes, session.net_sent_bytes) == (160, 6, -1)


def test_sessions_of_a_period_last_seen_first(reader: Reader, writer: Writer) -> None:
    writer.commit([make_run(n, session=f"s-{n}", wall_ns=S // 2) for n in range(1, 6)])
    assert [each.session for each in reader.sessions()] == [f"s-{n}" for n in (5, 4, 3, 2, 1)]
    wanted = RunFilter(since_ns=BEGIN_NS + 2 * S, until_ns=BEGIN_NS + 4 * S)
    assert [each.session for each in reader.sessions(wanted)] == ["s-3", "s-2"]
    assert [each.session for each in reader.sessions(RunFilter(session="s-4"))] == ["s-4"]
    assert len(reader.sessions(limit=2)) == 2


def test_the_status(reader: Reader, writer: Writer) -> None:
    names = [f"hook{n}.sh" for n in range(7)]
    writer.commit(
        [make_run(n + 1, command=name, wall_ns=n * MS) for n, name in enumerate(names)]
        + [make_run(50, mode=Mode.TOOL, command="", outcome=Outcome.ERROR), make_start(60)],
        [SpoolMark("d", "f", 1, 1)],
        [Reject("torn", "f", 1, 2), Reject("torn", "f", 8, 2)],
    )
    now_ns = BEGIN_NS + 100 * S
    status = reader.status(BEGIN_NS, now_ns)
    assert status.recorded
    assert (status.runs, status.outcomes) == (7, {"ok": 7})
    assert [hook.name for hook in status.slowest] == [f"hook{n}.sh" for n in (6, 5, 4, 3, 2)]
    assert [run.run for run in status.running] == [f"{60:016x}"]
    assert (status.sessions, status.sessions_active) == (1, 1)
    assert reader.status(BEGIN_NS, now_ns + 100 * S).sessions_active == 0
    assert status.quarantine == {"torn": 2}
    assert status.last_commit_ns == BEGIN_NS + HOUR_NS
    assert status.ingest_lag_ns == HOUR_NS - 60 * S


def test_the_forecast_counts_runs_past_the_limits(reader: Reader, writer: Writer) -> None:
    writer.commit(
        [make_run(n, wall_ns=n * 100 * MS, anon_peak_bytes=n << 20) for n in range(1, 11)]
        + [make_run(20, event="Stop", wall_ns=5 * S)]
        + [make_run(21, mode=Mode.TOOL, command="", wall_ns=99 * S)]
        + [
            history("a", 600, session="s-0"),
            history("b", 500, session="s-0"),
            history("c", -1, session="s-0", outcome=Outcome.UNKNOWN),
            history("d", -1, session="s-0", outcome=Outcome.TIMEOUT, timeout_ms=9000),
        ]
    )
    asked = set()

    def limits_of(event: str, key: str, name: str, command: str) -> Limits:
        asked.add((event, key, name, command))
        return Limits(500 if event == "PreToolUse" else 550, 8 << 20, Enforcement.OBSERVE)

    found = {(each.event, each.source): each for each in reader.would_have_stopped(limits_of)}
    assert asked == {
        (event, key_of(COMMAND), "guard.py", COMMAND) for event in ("PreToolUse", "Stop")
    }
    first = found["PreToolUse", Source.LAUNCHER]
    assert (first.runs, first.over_time, first.over_memory) == (10, 5, 2)
    assert (first.timeout_ms, first.memory_bytes) == (500, 8 << 20)
    assert first.wall_ns.p95 == S
    assert found["Stop", Source.LAUNCHER].over_time == 1
    told = found["Stop", Source.TRANSCRIPT]
    assert (told.runs, told.over_time, told.over_memory) == (4, 2, 0)
    assert len(found) == 3
    since = reader.would_have_stopped(limits_of, since_ns=BEGIN_NS + 8 * S)
    assert {(each.event, each.runs, each.over_time) for each in since} == {
        ("PreToolUse", 3, 3),
        ("Stop", 1, 1),
    }


def test_the_forecast_counts_a_run_once(reader: Reader, writer: Writer) -> None:
    writer.commit(
        [
            make_run(1, event="Stop", session="both", wall_ns=900 * MS),
            history("1", 900, session="both"),
            history("2", 900, session="earlier"),
        ]
    )
    found = reader.would_have_stopped(lambda *_, **__: Limits(500, 1 << 30, Enforcement.ENFORCE))
    assert sorted((each.source, each.runs, each.over_time) for each in found) == [
        (Source.LAUNCHER, 1, 1),
        (Source.TRANSCRIPT, 1, 1),
    ]
