"""In whatever order and how often records come, the store ends up the same."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import BEGIN_NS, make_run, make_start

from better_claude.model import Run, RunStart
from better_claude.store import rollup
from better_claude.store.writer import Writer

RUNS = [
    make_run(n, session=f"s{n % 2}", event=f"E{n % 3}", start_ns=BEGIN_NS + n * 900_000_000_000)
    for n in range(1, 9)
]
STARTS = [
    make_start(n, session=f"s{n % 2}", event=f"E{n % 3}", start_ns=BEGIN_NS + n * 900_000_000_000)
    for n in range(1, 13)
]
steps = st.lists(
    st.one_of(
        st.lists(st.sampled_from([*RUNS, *STARTS]), max_size=8),
        st.sampled_from(["lost", "reopen"]),
    ),
    max_size=10,
)


def contents(path: Path) -> dict[str, Any]:
    connection = sqlite3.connect(path)
    try:
        return {
            "runs": connection.execute("SELECT run, outcome FROM runs ORDER BY run").fetchall(),
            "running": connection.execute("SELECT run FROM running ORDER BY run").fetchall(),
            "hours": connection.execute("SELECT * FROM run_hours").fetchall(),
            "sessions": connection.execute(
                "SELECT session, hook_runs, hook_wait_ns, hook_failures FROM sessions"
                " ORDER BY session"
            ).fetchall(),
            "sums": connection.execute(
                "SELECT sessions.session, count(*), sum(wall_ns), sum(outcome IN (2, 3, 4, 6))"
                " FROM runs JOIN sessions ON sessions.id = runs.session"
                " GROUP BY 1 ORDER BY 1"
            ).fetchall(),
        }
    finally:
        connection.close()


def rebuilt_hours(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        for row in connection.execute("SELECT * FROM runs").fetchall():
            rollup.rebuild(connection, row)
        return connection.execute("SELECT * FROM run_hours").fetchall()
    finally:
        connection.rollback()
        connection.close()


@settings(max_examples=60, deadline=None)
@given(steps)
def test_order_and_repetition_do_not_matter(steps: list[list[Run | RunStart] | str]) -> None:
    ended: set[str] = set()
    begun: set[str] = set()
    lost: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "store.db"
        writer = Writer.open(path)
        for step in steps:
            if step == "reopen":
                writer.close()
                writer = Writer.open(path)
            elif step == "lost":
                running = [run.run for run in writer.running()]
                writer.mark_lost(dict.fromkeys(running[:2], BEGIN_NS))
                lost |= set(running[:2])
            elif isinstance(step, list):
                writer.commit(step)
                ended |= {record.run for record in step if isinstance(record, Run)}
                begun |= {record.run for record in step if isinstance(record, RunStart)}
        writer.close()
        found = contents(path)
        assert {f"{run:016x}" for run, _ in found["runs"]} == ended | lost
        assert {f"{run:016x}" for run, outcome in found["runs"] if outcome == 6} == lost - ended
        assert {f"{run:016x}" for (run,) in found["running"]} == begun - ended - lost
        assert found["hours"] == rebuilt_hours(path)
        summed = {row[0]: row for row in found["sums"]}
        for row in found["sessions"]:
            assert row == summed.get(row[0], (row[0], 0, 0, 0))


@settings(max_examples=30, deadline=None)
@given(st.permutations([*RUNS, *STARTS]), st.integers(1, 7))
def test_any_order_in_any_batches_gives_the_same_store(
    records: list[Run | RunStart], size: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = []
        orders: list[list[Run | RunStart]] = [records, [*RUNS, *STARTS]]
        for number, order in enumerate(orders):
            path = Path(name) / f"{number}.db"
            with Writer.open(path) as writer:
                for batch in _batches(order, size):
                    writer.commit(batch)
            found.append({key: contents(path)[key] for key in ("runs", "running", "sums")})
        assert found[0] == found[1]


def _batches(records: list[Run | RunStart], size: int) -> list[list[Run | RunStart]]:
    return [records[begin : begin + size] for begin in range(0, len(records), size)]
