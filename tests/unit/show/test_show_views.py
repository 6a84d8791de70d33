"""Each screen as it is printed, line by line."""

import os
import time
from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.show.show_records import HOOKS, NOW, RUNNING, RUNS, SESSIONS, STATUS, limits_of

from better_claude.show.hooks import SORTS, hook_footer, hook_grid, sort_hooks
from better_claude.show.running import running_grid
from better_claude.show.runs import run_grid, sort_runs
from better_claude.show.sessions import session_grid, sort_sessions
from better_claude.show.status import (
    ServiceFigures,
    StatusView,
    next_step,
    status_grid,
    verdict,
)
from better_claude.show.table import Grid, Room, to_lines


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    if before is None:
        monkeypatch.delenv("TZ")
    else:
        monkeypatch.setenv("TZ", before)
    time.tzset()


def lines(grid: Grid, colour: bool = False) -> list[str]:
    return to_lines(grid, colour)


def view(**changes: object) -> StatusView:
    service = ServiceFigures(True, True, 4711, 43121, NOW - 11_000_000_000_000, "0.1.0")
    fields: dict[str, object] = {
        "summary": STATUS,
        "service": service,
        "mode": "enforce",
        "contract_origin": "built-in",
        "window": "last 24h",
    }
    return StatusView(**{**fields, **changes})  # type: ignore[arg-type]


def test_hooks_at_80_columns() -> None:
    assert lines(hook_grid(sort_hooks(HOOKS, "p95"), limits_of, NOW, Room(80))) == [
        "hook             event              runs  failed     p50     p95   limit  memory",
        "format.sh        PostToolUse         800       0   88 ms   4.2 s     5 s   44 MB",
        "index.py         Stop                 41       3  120 ms  512 ms  500 ms   20 MB",
        "guard.py ca9dd…  PreToolUse        1,203       1   31 ms   44 ms     2 s   20 MB",
        "leak.py          UserPromptSubmit     10       1   31 ms   44 ms    10 s   51 MB",
        "guard.py 0256f…  Stop                  3       0    5 ms    6 ms  500 ms    2 MB",
    ]


def test_hooks_on_a_pipe_keep_every_column() -> None:
    head, first, *_ = lines(hook_grid(HOOKS, limits_of, NOW, Room(title="SAMPLE DATA")))[1:]
    assert " ".join(head.split()) == (
        "hook event runs failed why blocked p50 p95 p99 max limit memory CPU in out waited last key"
        " command"
    )
    assert first.endswith("python3 ~/.claude/hooks/guard.py")
    assert "1 timeout" in first


def test_limits_colour_what_comes_near_and_what_is_past() -> None:
    text = "\n".join(lines(hook_grid(HOOKS, limits_of, NOW, Room(80)), colour=True))
    assert "\x1b[33m4.2 s\x1b[0m" in text
    assert "\x1b[31m512 ms\x1b[0m" in text
    assert "\x1b[31m51 MB\x1b[0m" in text
    assert "\x1b[31m120 ms" not in text


@pytest.mark.parametrize("order", SORTS)
def test_every_order_keeps_every_hook(order: str) -> None:
    assert {id(h) for h in sort_hooks(HOOKS, order)} == {id(h) for h in HOOKS}


def test_orders_go_down_and_names_up() -> None:
    assert [h.name for h in sort_hooks(HOOKS, "failures")][:2] == ["index.py", "guard.py"]
    assert next(h.name for h in sort_hooks(HOOKS, "name")) == "format.sh"


def test_hook_footer_counts_and_says_how_exact() -> None:
    assert hook_footer(HOOKS, "last 1h") == "5 hooks · 2,057 runs · 5 failed · last 1h"
    sketched = [msgspec.structs.replace(h, exact=False) for h in HOOKS]
    assert hook_footer(sketched, "last 1h").endswith("percentiles within 1%")


def test_runs_at_80_columns() -> None:
    assert lines(run_grid(RUNS, NOW, Room(80))) == [
        "time      what         event        outcome    took  memory      CPU",
        "11:06:39  guard.py     PreToolUse   blocked   31 ms   11 MB  7.75 ms",
        "11:06:37  index.py     Stop         timeout     2 s   11 MB   501 ms",
        "11:06:39  leak.py      PreToolUse   memory   310 ms   52 MB  77.5 ms",
        "11:06:39  daemon.sh    PostToolUse  ok        20 ms   11 MB     5 ms",
        "11:06:38  Bash (tool)               ok        1.2 s   11 MB   301 ms",
    ]


def test_runs_by_duration() -> None:
    assert [r.name for r in sort_runs(RUNS, "wall")][:2] == ["index.py", "Bash"]


def test_sessions_at_80_columns() -> None:
    assert lines(session_grid(SESSIONS, NOW, Room(80))) == [
        "session   project         last  hooks  waited  failed        tools  API   cost",
        "3f2a9c1e  shop        11:06:39    120   4.2 s       2  31 1 failed   44  $1.23",
        "77777777           11-17 11:13                      0",
    ]


def test_sessions_by_cost() -> None:
    assert sort_sessions(SESSIONS[::-1], "cost") == SESSIONS


def test_running_lists_hooks_first() -> None:
    assert lines(running_grid(RUNNING, limits_of, NOW, Room(80))) == [
        "running   kind    event          for  limit   pid   session",
        "index.py  hook    PreToolUse   1.9 s    2 s  4242  3f2a9c1e",
        "mcp.py    server              3m 10s         4243  3f2a9c1e",
    ]


def test_status_says_how_it_stands() -> None:
    assert lines(status_grid(view(), Room(80))) == [
        "service    up 3h 03m · pid 4711 · port 43121",
        "contract   enforce · built-in",
        "last 24h   3 of 3,412 runs failed · 2 timeout, 1 error",
        "sessions   12 · 2 active",
        "running    1 hook, 1 server",
        "set aside  3 records · 1 checksum, 2 torn",
    ]


def test_a_sample_has_no_service() -> None:
    assert "service" not in "".join(lines(status_grid(view(sample=True), Room(80))))


def test_a_service_that_is_down_says_how_it_starts() -> None:
    first = lines(status_grid(view(service=ServiceFigures(False)), Room(80)))[0]
    assert first == "service    down · it starts with the next session, or: better-claude up"


@pytest.mark.parametrize(
    ("service", "said"),
    [
        (ServiceFigures(True, pid=7), "not answering · pid 7 · see service.log"),
        (ServiceFigures(True, True, 7, failing=("spool",)), "failing: spool · pid 7"),
    ],
)
def test_a_service_that_is_ill_says_so(service: ServiceFigures, said: str) -> None:
    assert lines(status_grid(view(service=service), Room(80)))[0] == f"service    {said}"


@pytest.mark.parametrize(
    ("outcomes", "said", "step"),
    [
        ({}, "nothing measured yet", "run -- claude"),
        ({"ok": 1}, "1 run, none failed", "hooks"),
        ({"ok": 1, "blocked": 2, "cancelled": 1}, "4 runs, none failed", "hooks"),
        ({"ok": 1, "lost": 1}, "1 of 2 runs failed", "runs --outcome lost"),
        (
            {"timeout": 1, "over_memory": 1},
            "2 of 2 runs failed",
            "runs --outcome timeout",
        ),
    ],
)
def test_verdict_and_next_step(outcomes: dict[str, int], said: str, step: str) -> None:
    summary = msgspec.structs.replace(STATUS, outcomes=outcomes, runs=sum(outcomes.values()))
    assert verdict(summary).text == said
    assert next_step(view(summary=summary))[0] == step


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
def test_no_screen_is_wider_than_its_terminal(width: int) -> None:
    grids = [
        status_grid(view(), Room(width)),
        hook_grid(HOOKS, limits_of, NOW, Room(width)),
        run_grid(RUNS, NOW, Room(width)),
        session_grid(SESSIONS, NOW, Room(width)),
        running_grid(RUNNING, limits_of, NOW, Room(width)),
    ]
    for grid in grids:
        assert max(map(len, lines(grid))) <= max(width, 52)
