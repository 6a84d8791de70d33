"""Rates from samples, and the live screen's tables."""

import pytest
from tests.unit.show.show_records import MB, NOW, SECOND, SESSION, SESSIONS

from better_claude.model import SessionSample
from better_claude.show.table import Room, to_lines
from better_claude.show.top import load_grid, session_loads


def sample(seconds: int, cpu_ms: int, **changes: int) -> SessionSample:
    return SessionSample(
        time_ns=NOW + seconds * SECOND,
        session=SESSION,
        claude_pid=changes.pop("claude_pid", 4242),
        processes=3,
        cpu_ns=cpu_ms * 1_000_000,
        anon_bytes=100 * MB,
        rss_bytes=200 * MB,
        **changes,
    )


def test_rates_are_means_between_first_and_last() -> None:
    [load] = session_loads(
        [
            sample(4, 3000, disk_read_bytes=5000, disk_write_bytes=0),
            sample(0, 1000, disk_read_bytes=1000, disk_write_bytes=0),
            sample(2, 2500, disk_read_bytes=1000, disk_write_bytes=0),
        ]
    )
    assert load.time_ns == NOW + 4 * SECOND
    assert load.cpu_cores == pytest.approx(0.5)
    assert load.disk_read_rate == pytest.approx(1000)
    assert load.disk_write_rate == 0
    assert load.net_sent_rate == -1


def test_one_sample_has_no_rates() -> None:
    [load] = session_loads([sample(0, 1000, disk_read_bytes=1)])
    assert (load.cpu_cores, load.disk_read_rate) == (-1, -1)
    assert load.anon_bytes == 100 * MB


def test_a_total_that_shrank_has_no_rate() -> None:
    [load] = session_loads([sample(0, 1000), sample(1, 10)])
    assert load.cpu_cores == -1


def test_two_clients_of_one_session_stay_apart_and_the_busier_leads() -> None:
    loads = session_loads(
        [sample(0, 0), sample(1, 10), sample(0, 0, claude_pid=5), sample(1, 900, claude_pid=5)]
    )
    assert [load.claude_pid for load in loads] == [5, 4242]


def test_nothing_sampled_is_nothing_loaded() -> None:
    assert session_loads([]) == []


def test_the_table_at_80_columns() -> None:
    loads = session_loads(
        [
            sample(0, 0, disk_read_bytes=0, disk_write_bytes=0),
            sample(2, 500, disk_read_bytes=2048, disk_write_bytes=20),
            sample(0, 0, claude_pid=5),
        ]
    )
    grid = load_grid(loads, {SESSION: SESSIONS[0]}, Room(80))
    assert to_lines(grid) == [
        "session   project   pid  procs  CPU  memory  disk r/s   w/s  hooks  failed",
        "3f2a9c1e  shop     4242      3  25%  100 MB      1 KB  10 B    120       2",
        "3f2a9c1e  shop        5      3       100 MB                    120       2",
    ]
