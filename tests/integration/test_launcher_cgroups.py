"""Hooks in cgroups of their own, on the cgroup v2 that this machine has.

``CGROUP_UNDER_TEST`` names a folder that is delegated to the tests, as in the virtual
machine of tests/vm; without it the tests' own cgroup is tried, which root may write to. Where
nobody lets us, or there is no memory controller, the same runs must go the other way: memory
polled, trees ended by signals.
"""

import os
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.launcher_driver import ROOT, Client, compile_c, survivors, wait_until, write_policy
from tests.sandbox import Sandbox

from better_claude.model import Run
from better_claude.service.cgroups import LEAF, CgroupSweeper, _own_cgroup, _reach
from better_claude.service.start import service_command

MB = 1 << 20
SLACK_NS = 1_500_000_000
LEAK = compile_c("leak", ROOT / "tests/programs/leak.c", flags=("-O2",))
DELEGATED = os.environ.get("CGROUP_UNDER_TEST", "")
STUBBORN = ROOT / "tests/programs/stubborn.py"


@dataclass(frozen=True, slots=True)
class Place:
    """Where hooks' cgroups are to stand; ``usable`` if the kernel lets us make them."""

    folder: Path
    reach: str
    usable: bool
    counts_memory: bool

    @property
    def source(self) -> str:
        return "cgroup" if self.counts_memory else "statm"

    def runs(self) -> list[Path]:
        return sorted(self.folder.glob("run-*"))


@pytest.fixture
def place() -> Iterator[Place]:
    own = _own_cgroup(Path("/proc/self"))
    above = Path(DELEGATED) if DELEGATED else own.folder if own else Path("/nowhere")
    folder = above / f"hooks-{uuid.uuid4().hex[:8]}"
    usable = True
    try:
        folder.mkdir()
        usable = os.access(above / "cgroup.procs", os.W_OK)
    except OSError:
        usable = False
    with suppress(OSError):
        (folder / "cgroup.subtree_control").write_text("+memory")
    controllers = _text(folder / "cgroup.subtree_control").split()
    yield Place(folder, _reach(own) if own else "", usable, usable and "memory" in controllers)
    for run in folder.glob("run-*"):
        (run / "cgroup.kill").write_text("1")
        assert wait_until(lambda run=run: is_empty(run))
        run.rmdir()
    with suppress(OSError):
        folder.rmdir()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def is_empty(cgroup: Path) -> bool:
    return "populated 0" in _text(cgroup / "cgroup.events")


def publish(
    client: Client,
    place: Place,
    reach: str,
    timeout_ms: int = 20_000,
    memory_bytes: int = 50 * MB,
) -> None:
    write_policy(
        client.state / "policy",
        f"global grace_ms=100 autostart=0 cgroup={place.folder} cgroup_from={reach}",
        f"event - * timeout_ms={timeout_ms} memory_bytes={memory_bytes} mode=enforce",
    )


def cgroup_of(output: bytes) -> str:
    """Return the cgroup v2 that a hook printed of itself, "" where there is none."""
    lines = output.decode().splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def check_gone(client: Client, place: Place) -> Run:
    end = client.last()
    assert survivors(end.run) == []
    assert place.runs() == []
    return end


def test_hook_has_a_cgroup_of_its_own(client: Client, place: Place) -> None:
    publish(client, place, place.reach)
    finished = client.hook("cat /proc/self/cgroup; sleep 0.05")
    end = check_gone(client, place)
    own = cgroup_of(Path("/proc/self/cgroup").read_bytes())
    there = cgroup_of(finished.stdout)
    assert (there.endswith(f"/{place.folder.name}/run-{end.run}")) is place.usable
    assert (there == own) is not place.usable
    assert (finished.status, end.outcome) == (0, "ok")
    # The kernel may not have added up the little that this hook uses.
    assert end.anon_source in ("statm", place.source)
    assert 0 < end.anon_peak_bytes < 10 * MB


def test_leak_is_stopped(client: Client, place: Place) -> None:
    publish(client, place, place.reach)
    finished = client.hook(f"{LEAK} 200 1000 20")
    end = check_gone(client, place)
    assert (finished.status, end.outcome, end.anon_source) == (125, "over_memory", place.source)
    assert 50 * MB < end.anon_peak_bytes < 110 * MB


def test_memory_is_the_trees(client: Client, place: Place) -> None:
    publish(client, place, place.reach)
    each = f"setsid {LEAK} 200 20 20 &"
    finished = client.hook(f"{each} {each} {each} {each} wait")
    end = check_gone(client, place)
    assert (finished.status, end.outcome) == (125, "over_memory")


@pytest.mark.parametrize("name", ["deaf_daemon", "storm", "many"])
def test_whole_tree_is_gone_at_the_limit(client: Client, place: Place, name: str) -> None:
    publish(client, place, place.reach, timeout_ms=1000, memory_bytes=4096 * MB)
    finished = client.hook(shlex.join([sys.executable, "-S", str(STUBBORN), name, "mark"]))
    end = check_gone(client, place)
    assert (finished.status, end.outcome) == (124, "timeout")
    assert end.stop_ns < 100_000_000 + SLACK_NS


async def test_what_is_left_on_purpose_stays_until_it_ends(client: Client, place: Place) -> None:
    publish(client, place, place.reach)
    finished = client.hook("setsid sleep 0.8 </dev/null >/dev/null 2>&1 & sleep 0.05; exit 0")
    end = client.last()
    assert (finished.status, end.leftovers) == (0, 1)
    sweeper = CgroupSweeper(place.folder)
    for _ in range(2):
        await sweeper.look()
    assert len(place.runs()) == place.usable
    assert len(survivors(end.run)) == 1
    assert wait_until(lambda: all(map(is_empty, place.runs())))
    await sweeper.look()
    assert place.runs() == []


def test_folder_that_is_gone_costs_nothing_and_harms_nothing(client: Client, place: Place) -> None:
    publish(client, replace(place, folder=place.folder / "gone"), place.reach)
    finished = client.hook("echo ok; sleep 0.05")
    end = check_gone(client, place)
    assert (finished.status, finished.stdout, end.anon_source) == (0, b"ok\n", "statm")


@pytest.mark.parametrize("reach", ["/elsewhere", "/else%20where/hooks"])
def test_client_elsewhere_makes_no_cgroup(client: Client, place: Place, reach: str) -> None:
    before = place.folder.stat().st_mtime_ns if place.folder.exists() else 0
    publish(client, place, reach)
    finished = client.hook("cat /proc/self/cgroup; sleep 0.05")
    assert cgroup_of(finished.stdout) == cgroup_of(Path("/proc/self/cgroup").read_bytes())
    assert check_gone(client, place).anon_source == "statm"
    assert (place.folder.stat().st_mtime_ns if place.folder.exists() else 0) == before


def test_refusal_by_the_kernel_harms_nothing(client: Client, place: Place) -> None:
    """Made, refused by clone3, removed again: what the question above is to spare."""
    folder = place.folder
    if DELEGATED:
        # As much ours as the other, but nothing above both is.
        folder = Path(DELEGATED).parent / "foreign"
    else:
        with suppress(OSError):
            # Nothing can live below a threaded cgroup that was not made threaded too.
            (folder / "cgroup.type").write_text("threaded")
    publish(client, replace(place, folder=folder), "")
    finished = client.hook("cat /proc/self/cgroup; sleep 0.05")
    assert cgroup_of(finished.stdout) == cgroup_of(Path("/proc/self/cgroup").read_bytes())
    assert (finished.status, check_gone(client, place).anon_source) == (0, "statm")
    assert not list(folder.glob("run-*"))


@contextmanager
def service_in(subtree: Path, sandbox: Sandbox, usable: bool) -> Iterator[None]:
    """Run the service in a leaf of ``subtree``, as systemd does."""
    leaf = subtree / LEAF
    if usable:
        leaf.mkdir()
    process = subprocess.Popen(
        [*service_command(), "--background"],
        env=sandbox.environ(),
        preexec_fn=(lambda: move_to(leaf)) if usable else None,  # noqa: PLW1509
    )
    try:
        # An emulated machine needs half a minute.
        assert wait_until(sandbox.paths.service_info.exists, 60)
        yield
    finally:
        process.terminate()
        process.wait()
        for folder in (subtree / "hooks", leaf):
            with suppress(FileNotFoundError):
                folder.rmdir()


def move_to(cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text("0")


def test_service_in_a_leaf_gives_hooks_cgroups(
    client: Client, sandbox: Sandbox, place: Place
) -> None:
    with service_in(place.folder, sandbox, place.usable):
        policy = sandbox.paths.policy.read_text()
        log = sandbox.paths.service_log.read_text()
        finished = client.hook("cat /proc/self/cgroup; sleep 0.05")
        end = client.last()
    own = cgroup_of(Path("/proc/self/cgroup").read_bytes())
    hooks = place.folder / "hooks"
    assert (f"cgroup={hooks} cgroup_from={place.reach} *" in policy) is place.counts_memory
    assert (f"hooks get cgroups of their own in {hooks}" in log) is place.counts_memory
    assert ("no memory controller" in log) is (place.usable and not place.counts_memory)
    assert cgroup_of(finished.stdout).endswith(f"hooks/run-{end.run}") is place.counts_memory
    assert (cgroup_of(finished.stdout) == own) is not place.counts_memory
