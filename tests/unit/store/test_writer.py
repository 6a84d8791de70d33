import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.records import BEGIN_NS, HOUR_NS, MS, key_of, make_run, make_start

from better_claude.collect.marks import ImportMark, Reject, SpoolMark
from better_claude.errors import StoreError
from better_claude.model import (
    ApiCall,
    ClientEvent,
    Compaction,
    HistoryRun,
    MetricPoint,
    Mode,
    Outcome,
    Record,
    SessionSample,
    Source,
    ToolCall,
)
from better_claude.store import rollup
from better_claude.store.writer import CommitResult, Writer

MARK = SpoolMark("/spool", "20260101T00.spool", 42, 100)


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


def rows(path: Path, sql: str) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def count(path: Path, table: str) -> int:
    return int(rows(path, f"SELECT count(*) FROM {table}")[0][0])


def history(ident: str = "h", **members: Any) -> HistoryRun:
    defaults: dict[str, Any] = {
        "time_ns": BEGIN_NS,
        "session": "s-1",
        "event": "Stop",
        "name": "Stop",
        "command": "x.sh",
        "key": key_of("x.sh"),
        "duration_ms": 5,
        "outcome": Outcome.OK,
    }
    return HistoryRun(ident=ident, **defaults | members)


OTHERS: list[Record] = [
    ApiCall(BEGIN_NS, "s-1", "opus", Source.TELEMETRY, "a"),
    ToolCall(BEGIN_NS, "s-1", "Bash", Source.TELEMETRY, "t"),
    history(),
    Compaction(BEGIN_NS, "s-1", Source.TELEMETRY, "c", "auto"),
    ClientEvent(BEGIN_NS, "s-1", "user_prompt", Source.TELEMETRY, "e", {"n": 1}),
    MetricPoint(BEGIN_NS, "s-1", "cost.usage", 0.5, {"model": "opus"}),
    SessionSample(BEGIN_NS, "s-1", 7, 2, 100, 1000, 2000),
]
OTHER_TABLES = [
    "api_calls",
    "tool_calls",
    "history_runs",
    "compactions",
    "client_events",
    "metric_points",
    "session_samples",
]


def test_a_store_is_for_its_owner_only(path: Path, writer: Writer) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_records_and_mark_are_stored_together(path: Path, writer: Writer) -> None:
    result = writer.commit([make_start(), make_run(), make_start(2), *OTHERS], [MARK])
    assert result == CommitResult(runs=1, starts=1, others=7, duplicates=0)
    assert writer.spool_marks() == [MARK]
    assert count(path, "runs") == 1
    assert [run.run for run in writer.running()] == [f"{2:016x}"]
    assert [count(path, table) for table in OTHER_TABLES] == [1] * 7


def test_the_same_again_changes_nothing(path: Path, writer: Writer) -> None:
    records = [make_start(), make_run(), make_run(2), *OTHERS]
    writer.commit(records, [MARK])
    before = rows(path, "SELECT * FROM run_hours"), rows(path, "SELECT * FROM sessions")
    again = writer.commit([*records, make_run(), make_run(3), make_run(3)], [MARK])
    assert again.runs == 1
    assert count(path, "runs") == 3
    assert [count(path, table) for table in OTHER_TABLES] == [1] * 7
    assert rows(path, "SELECT runs FROM run_hours") == [(3,)]
    assert rows(path, "SELECT hook_runs FROM sessions") == [(3,)]
    assert before[0][0][3] == 2


def test_rows_are_interned(path: Path, writer: Writer) -> None:
    writer.commit([make_run(n, prompt="p", agent="a", tool="Bash") for n in range(1, 50)])
    assert rows(path, "SELECT key, name, mode FROM hooks") == [(make_run().key, "guard.py", 0)]
    names = {text for (text,) in rows(path, "SELECT text FROM names")}
    assert names == {"PreToolUse", "/home/me/project", "Bash"}
    assert count(path, "idents") == 2
    assert count(path, "terms") == 1


def test_a_tool_run_is_named_after_its_tool(path: Path, writer: Writer) -> None:
    tool = make_run(command="", key=key_of("Bash"), mode=Mode.TOOL, tool="Bash", event="")
    writer.commit([tool])
    assert rows(path, "SELECT name, command FROM hooks") == [("Bash", "")]
    assert rows(path, "SELECT hook_runs FROM sessions") == [(0,)]


def test_an_end_ends_a_start_of_an_earlier_commit(writer: Writer) -> None:
    writer.commit([make_start()])
    assert len(writer.running()) == 1
    writer.commit([make_run()])
    assert writer.running() == []


def test_a_start_after_its_end_does_not_rise_again(path: Path, writer: Writer) -> None:
    writer.commit([make_run()])
    writer.commit([make_start()])
    assert writer.running() == []
    assert count(path, "runs") == 1


def test_a_lost_run_and_a_server_that_went(path: Path, writer: Writer) -> None:
    writer.commit([make_start(), make_start(2, mode=Mode.SERVER), make_start(3)])
    now_ns = BEGIN_NS + 10_000_000_000
    assert writer.mark_lost(dict.fromkeys((f"{n:016x}" for n in (1, 2, 9)), now_ns)) == 2
    found = rows(path, "SELECT run, outcome, wall_ns FROM runs ORDER BY run")
    assert found == [(1, 6, 9_000_000_000), (2, 0, 8_000_000_000)]
    assert [run.run for run in writer.running()] == [f"{3:016x}"]
    assert rows(path, "SELECT hook_failures FROM sessions") == [(1,)]


def test_a_lost_run_lasts_no_less_than_nothing(path: Path, writer: Writer) -> None:
    writer.commit([make_start()])
    writer.mark_lost({f"{1:016x}": BEGIN_NS - HOUR_NS})  # the clock was set back
    assert rows(path, "SELECT wall_ns FROM runs") == [(0,)]


@pytest.mark.parametrize("order", [(1, 3), (3, 1), (3, 1, 3, 1)])
def test_a_run_thought_lost_whose_end_comes_after_all(
    path: Path, writer: Writer, order: tuple[int, ...]
) -> None:
    writer.commit([make_start(), make_run(2)])
    writer.mark_lost({f"{1:016x}": BEGIN_NS + 10_000_000_000})
    ends = {1: make_run(wall_ns=5 * MS), 3: make_run(3)}
    writer.commit([ends[number] for number in order])
    assert rows(path, "SELECT outcome, wall_ns FROM runs WHERE run = 1") == [(0, 5 * MS)]
    hours = rows(path, "SELECT runs, ok, lost, wall_sum_ns FROM run_hours")
    assert hours == [(3, 3, 0, 45 * MS)]
    totals = rows(path, "SELECT hook_runs, hook_wait_ns, hook_failures FROM sessions")
    assert totals == [(3, 45 * MS, 0)]


def test_lost_does_not_replace_a_known_end(path: Path, writer: Writer) -> None:
    writer.commit([make_run()])
    writer.commit([make_run(outcome=Outcome.LOST)])
    assert rows(path, "SELECT outcome FROM runs") == [(0,)]


def test_hours_are_what_their_rows_add_up_to(path: Path, writer: Writer) -> None:
    outcomes = list(Outcome)[:7]
    for batch in range(4):
        writer.commit(
            [
                make_run(
                    n,
                    start_ns=BEGIN_NS + n * HOUR_NS // 20,
                    wall_ns=n * MS,
                    outcome=outcomes[n % 7],
                    breach=("", "time", "memory")[n % 3],
                    event=("Stop", "PreToolUse")[n % 2],
                    anon_peak_bytes=n,
                    user_ns=n,
                    sys_ns=1,
                    stdin_bytes=2 * n,
                    overhead_ns=n * 1000,
                )
                for n in range(batch * 20 + 1, batch * 20 + 21)
            ]
        )
    before = rows(path, "SELECT * FROM run_hours")
    connection = sqlite3.connect(path)
    for row in connection.execute("SELECT * FROM runs").fetchall():
        rollup.rebuild(connection, row)
    connection.commit()
    connection.close()
    assert rows(path, "SELECT * FROM run_hours") == before
    assert sum(row[3] for row in before) == 80
    assert len(before) > 8


def test_a_session_knows_who_it_is_and_when_it_lived(path: Path, writer: Writer) -> None:
    writer.commit([make_start(5, claude_pid=77)])
    writer.commit(
        [ClientEvent(BEGIN_NS, "s-1", "x", Source.TELEMETRY, "e", {"client_version": "2.1.330"})]
    )
    writer.commit([make_run(9, wall_ns=3_000_000_000, project="")])
    columns = "project, claude_pid, client_version, first_ns, last_ns"
    assert rows(path, f"SELECT {columns} FROM sessions") == [
        ("/home/me/project", 77, "2.1.330", BEGIN_NS, BEGIN_NS + 12_000_000_000)
    ]


def test_records_without_a_session_make_none(path: Path, writer: Writer) -> None:
    writer.commit([make_run(session=""), MetricPoint(BEGIN_NS, "", "m", 1.0)])
    assert count(path, "sessions") == 0
    assert count(path, "runs") == 1


def test_a_later_reading_of_a_transcript_knows_more(path: Path, writer: Writer) -> None:
    def call(tokens: int) -> ApiCall:
        return ApiCall(BEGIN_NS, "s", "m", Source.TRANSCRIPT, "msg", output_tokens=tokens)

    writer.commit([call(1)])
    writer.commit([call(90)])
    assert rows(path, "SELECT output_tokens FROM api_calls") == [(90,)]


def test_both_sources_of_a_call_are_kept(path: Path, writer: Writer) -> None:
    writer.commit(
        [
            ToolCall(BEGIN_NS, "s", "Bash", source, "toolu")
            for source in (Source.TELEMETRY, Source.TRANSCRIPT)
        ]
    )
    assert count(path, "tool_calls") == 2


def test_counters_of_a_tree_go_on_after_they_began_again(path: Path, writer: Writer) -> None:
    for number, cpu in enumerate([100, 150, 20, 30]):
        writer.commit([SessionSample(BEGIN_NS + number, "s", 7, number, cpu, 5, 6)])
    writer.commit([SessionSample(BEGIN_NS, "s", 7, 99, 999, 5, 6)])  # known already
    columns = "processes_peak, cpu_base_ns + cpu_last_ns, disk_read_last_bytes"
    assert rows(path, f"SELECT {columns} FROM session_processes") == [(3, 180, -1)]


def test_numbers_that_do_not_fit_are_brought_to_the_nearest_that_does(
    path: Path, writer: Writer
) -> None:
    writer.commit(
        [
            ApiCall(BEGIN_NS, "s", "m", Source.TELEMETRY, "a", input_tokens=1 << 70),
            MetricPoint(BEGIN_NS, "s", "m", float("nan")),
        ]
    )
    assert rows(path, "SELECT input_tokens FROM api_calls") == [((1 << 63) - 1,)]
    assert rows(path, "SELECT value FROM metric_points") == [(0.0,)]


def test_half_characters_and_impossible_times_do_no_harm(path: Path, writer: Writer) -> None:
    half = "\ud800"
    writer.commit(
        [
            ClientEvent(
                BEGIN_NS, half, half, Source.TELEMETRY, half, {half: half, "project": half}
            ),
            ToolCall(BEGIN_NS, half, half, Source.TRANSCRIPT, half, prompt=half),
            history(command=half, name=half),
            MetricPoint(1 << 70, "s", "m", 1.0),
            MetricPoint(-1, "s", "m", 1.0),
        ]
    )
    assert rows(path, "SELECT session, project FROM sessions ORDER BY session") == [
        ("?", "?"),
        ("s-1", ""),
    ]
    assert count(path, "client_events") == count(path, "tool_calls") == 1
    assert count(path, "metric_points") == 0


def test_what_cannot_be_stored_stores_nothing(path: Path, writer: Writer) -> None:
    bad = make_run(2, wall_ns=1 << 70)  # the spool reader would not let it through
    with pytest.raises(StoreError) as caught:
        writer.commit([make_run(event="New"), bad], [MARK])
    assert caught.value.slug == "store-failed"
    assert count(path, "runs") == 0
    assert writer.spool_marks() == []
    # What was interned for it is gone with it, and made anew.
    assert writer.commit([make_run(event="New")], [MARK]).runs == 1
    assert rows(path, "SELECT text FROM runs JOIN names ON id = event") == [("New",)]


def test_a_commit_is_one_transaction(writer: Writer) -> None:
    statements: list[str] = []
    writer._connection.set_trace_callback(statements.append)
    writer.commit(
        [make_start(), make_run(2), *OTHERS],
        [MARK],
        [Reject("torn", "f", 1, 2)],
        [ImportMark("/a.jsonl", 1, 2, 3, 4)],
        [MARK],
    )
    assert statements[0] == "BEGIN IMMEDIATE"
    assert statements[-1] == "COMMIT"
    assert [word for word in statements if word.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]


def test_rejects_are_counted_by_reason_and_file(path: Path, writer: Writer) -> None:
    rejects = [Reject("torn", "f", offset, 10) for offset in (5, 50)]
    writer.commit([], [MARK], [*rejects, Reject("foreign", "f", 99, 1)])
    assert rows(
        path, "SELECT reason, file, offset_bytes, length_bytes, pieces FROM quarantine"
    ) == [("torn", "f", 5, 20, 2), ("foreign", "f", 99, 1, 1)]


def test_marks_of_deleted_files_go(writer: Writer) -> None:
    writer.commit([], [MARK])
    writer.commit([], gone=[MARK])
    assert writer.spool_marks() == []


def test_import_marks_come_back(writer: Writer) -> None:
    mark = ImportMark("/a.jsonl", 1, 2, 3, 4, "id")
    writer.commit([history()], imports=[mark])
    assert writer.import_marks() == {"/a.jsonl": mark}


def test_the_lag_is_the_age_of_the_newest_launcher_record(path: Path, writer: Writer) -> None:
    writer.commit([make_run(1), make_run(1000)])
    age_ns = HOUR_NS - 1_000_000_000_000 - 20 * MS
    assert rows(path, "SELECT commit_ns, lag_ns FROM progress") == [(BEGIN_NS + HOUR_NS, age_ns)]
    writer.commit([history()])
    assert rows(path, "SELECT lag_ns FROM progress") == [(age_ns,)]


def test_old_rows_go_bit_by_bit(path: Path, writer: Writer) -> None:
    writer.commit([make_run(n, start_ns=BEGIN_NS + n * HOUR_NS, prompt=f"p{n}") for n in range(48)])
    writer.commit([*OTHERS, make_run(99, start_ns=BEGIN_NS + 30 * HOUR_NS, command="y.sh")])
    before_ns = BEGIN_NS + 24 * HOUR_NS
    deleted: list[int] = []
    while not deleted or deleted[-1]:
        deleted.append(writer.expire(before_ns, BEGIN_NS + 2 * HOUR_NS, limit=10))
    assert max(deleted) <= 12  # two hours come on top, all at once
    assert rows(path, "SELECT min(start_ns), count(*) FROM runs") == [(before_ns, 25)]
    assert rows(path, "SELECT min(hour), count(*) FROM run_hours") == [
        (BEGIN_NS // HOUR_NS + 2, 47)
    ]
    assert [count(path, table) for table in OTHER_TABLES] == [0] * 7
    assert count(path, "sessions") == 1  # still alive
    assert rows(path, "SELECT expired_ns FROM progress") == [(before_ns,)]
    assert writer.commit([make_run(77, prompt="p1")]).runs == 1


def test_sessions_go_with_their_last_row(path: Path, writer: Writer) -> None:
    writer.commit([make_run(), SessionSample(BEGIN_NS, "s-1", 7, 2, 100, 1000, 2000)])
    while writer.expire(BEGIN_NS + 99 * HOUR_NS):
        pass
    assert count(path, "sessions") == 0
    assert count(path, "session_processes") == 0
    assert count(path, "run_hours") == 1


def test_two_writers_may_take_turns(path: Path, writer: Writer) -> None:
    with Writer.open(path, StoppedClock()) as other:
        for number in range(1, 7):
            chosen = writer if number % 2 else other
            chosen.commit([make_run(number, event=f"E{number % 3}", session=f"s{number % 2}")])
    assert count(path, "runs") == 6
    assert count(path, "names") == 4
    assert count(path, "sessions") == 2
