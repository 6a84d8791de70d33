"""What the launcher costs, against none and against coreutils ``timeout``.

``timeout`` stops one process and measures nothing. Every comparison is made within one run, in
turns. Each bench prints a table and a line of JSON.
"""

import json
import math
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.launcher_driver import ROOT, Client, compile_c, event, launcher_binary
from tests.sandbox import Sandbox

pytestmark = pytest.mark.bench

PROGRAMS = ROOT / "tests/programs"
ROUNDS = 300
MS = 1_000_000
MB = 1 << 20
LIMIT = "event - * timeout_ms={} memory_bytes={} mode=enforce"


def quantile(values: Sequence[float], q: float) -> float:
    """Return the nearest-rank quantile (Hyndman and Fan 1996, type 1); ``values`` not empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def report(title: str, unit: str, rows: dict[str, dict[str, float]]) -> None:
    """Print a table for people and one line of JSON for programs."""
    columns = list(next(iter(rows.values())))
    print(f"\n{title} ({unit})")
    print(f"  {'':34}" + "".join(f"{column:>12}" for column in columns))
    for name, row in rows.items():
        print(f"  {name:34}" + "".join(f"{row[column]:12.3f}" for column in columns))
    print(json.dumps({"bench": title, "unit": unit, "rows": rows}))


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox.state, sandbox.project, launcher_binary()).install()


def spawn_times(client: Client, commands: Sequence[str], rounds: int = ROUNDS) -> list[list[int]]:
    """Return the nanoseconds of each run of each command, as the client starts them."""
    spawner = compile_c("spawner", PROGRAMS / "spawner.c", flags=("-O2",))
    text = client.state.parent / "event.json"
    text.write_bytes(event())
    # Each launcher finds its state folder from its own path.
    environment = client.environment(BETTER_CLAUDE_STATE="")
    done = subprocess.run(
        [spawner, str(rounds), str(text), *commands],
        env=environment,
        cwd=client.project,
        stdout=subprocess.PIPE,
        check=True,
    )
    times: list[list[int]] = [[] for _ in commands]
    for line in done.stdout.splitlines():
        which, spent = line.split()
        times[int(which)].append(int(spent))
    return times


@contextmanager
def load(processes: int = 2) -> Iterator[None]:
    """Keep every core of a small machine busy."""
    burners = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest.mark.parametrize(
    ("kind", "command", "added_ms"),
    [("simple command", "/bin/true", 0.5), ("needs a shell", "/bin/true; exit 0", 1.5)],
)
def test_added_latency(client: Client, kind: str, command: str, added_ms: float) -> None:
    text = shlex.quote(command)
    ways = {
        "bare": command,
        "better-claude": f"{client.prefix} {text}",
        "coreutils timeout": f"timeout 10 sh -c {text}",
    }
    # Other work on the machine only ever adds: the best of three tries is nearest to the truth.
    tries = [latencies(client, ways) for _ in range(3)]
    figures = min(tries, key=lambda rows: rows["better-claude"]["added p50"])
    report(f"hook latency, {kind}", "ms", figures)
    ours, theirs = figures["better-claude"], figures["coreutils timeout"]
    assert len(client.spool().ends) == 3 * (ROUNDS + 5)
    assert ours["p50"] <= theirs["p50"]
    assert ours["added p50"] <= added_ms
    assert min(rows["better-claude"]["p99 ratio"] for rows in tries) <= 2


def latencies(client: Client, ways: dict[str, str]) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    times = dict(zip(ways, spawn_times(client, list(ways.values())), strict=True))
    for name, values in times.items():
        p50, p99 = quantile(values, 0.5) / MS, quantile(values, 0.99) / MS
        rows[name] = {"p50": p50, "p99": p99}
    for row in rows.values():
        row["added p50"] = row["p50"] - rows["bare"]["p50"]
        row["p99 ratio"] = row["p99"] / rows["bare"]["p99"]
    return rows


def test_policy_of_many_hooks_costs_nothing(client: Client, sandbox: Sandbox) -> None:
    """Reading a policy with 500 hooks and 100 patterns, against the empty one."""
    other = Client(sandbox.root / "other", client.project, client.launcher).install()
    other.write_policy(
        *(f"hook - {index:016x} timeout_ms=1000" for index in range(500)),
        *(f"match - *hook{index}.py* timeout_ms=1000" for index in range(100)),
        LIMIT.format(2000, 50 * MB),
    )
    commands = [f"{client.prefix} /bin/true", f"{other.prefix} /bin/true"]
    empty, full = spawn_times(client, commands)
    rows = {
        "no hooks": {"p50": quantile(empty, 0.5) / MS, "p99": quantile(empty, 0.99) / MS},
        "500 hooks, 100 patterns": {
            "p50": quantile(full, 0.5) / MS,
            "p99": quantile(full, 0.99) / MS,
        },
    }
    report("policy", "ms", rows)
    assert rows["500 hooks, 100 patterns"]["p50"] - rows["no hooks"]["p50"] <= 0.3


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "load"])
def test_deadline_to_empty_tree(client: Client, busy: bool) -> None:
    """From the limit to an empty tree, beyond the grace: a deaf tree of ten sessions."""
    limit_ms, grace_ms, runs = 60, 30, 120
    client.write_policy(LIMIT.format(limit_ms, 50 * MB), grace_ms=grace_ms)
    command = "trap '' TERM; for i in 1 2 3 4 5 6 7 8 9; do setsid sleep 60 & done; sleep 60"
    outside = []
    with load(2 if busy else 0):
        for _ in range(runs):
            finished = client.hook(command)
            assert finished.status == 124
            outside.append((finished.wall_ns - (limit_ms + grace_ms) * MS) / MS)
    inside = [(end.stop_ns - grace_ms * MS) / MS for end in client.spool().ends]
    late = [(end.wall_ns - end.stop_ns - limit_ms * MS) / MS for end in client.spool().ends]
    rows = {
        name: {"p50": quantile(values, 0.5), "p99": quantile(values, 0.99), "max": max(values)}
        for name, values in (
            ("limit to first signal", late),
            ("limit to empty tree, less grace", inside),
            ("seen by the client, start included", outside),
        )
    }
    report(f"deadline, {'two busy cores' if busy else 'idle'}", "ms", rows)
    assert len(inside) == runs
    assert rows["limit to empty tree, less grace"]["p99"] <= 20


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "load"])
def test_memory_overshoot(client: Client, busy: bool) -> None:
    """How far past 50 MB a leak of 500 MB/s gets before it is seen, and while it is ended."""
    leak = compile_c("leak", PROGRAMS / "leak.c", flags=("-O2",))
    client.write_policy(LIMIT.format(10_000, 50 * MB))
    with load(2 if busy else 0):
        for _ in range(25):
            assert client.hook(f"{leak} 500 1000 10").status == 125
    over = [(end.anon_peak_bytes - 50 * MB) / MB for end in client.spool().ends]
    rows = {"leak of 500 MB/s": {"p50": quantile(over, 0.5), "p99": quantile(over, 0.99)}}
    report(f"memory overshoot, {'two busy cores' if busy else 'idle'}", "MB", rows)
    assert rows["leak of 500 MB/s"]["p50"] <= (25 if busy else 8)


def test_size() -> None:
    size = Path(launcher_binary()).stat().st_size / 1024
    report("launcher", "KB", {"static binary": {"size": size}})
    assert size <= 128
