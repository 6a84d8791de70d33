"""A delegated subtree is recognised and prepared; anything else is left alone."""

import errno
from pathlib import Path

import pytest

from better_claude.act.policy import Cgroups
from better_claude.service.cgroups import LEAF, CgroupSweeper, open_cgroups, prepare_cgroups

UNIT = "/user.slice/app.slice/better-claude.service"


class Tree:
    """A folder that looks like cgroup v2, and a process of it as proc(5) describes it."""

    def __init__(self, root: Path) -> None:
        self.mount = root / "sys fs" / "cgroup"
        self.process = root / "proc"
        self.process.mkdir(parents=True)
        self.unit = self.mount / UNIT[1:]
        self.add(f"{UNIT}/{LEAF}")
        self.live_in(f"{UNIT}/{LEAF}")

    def add(self, name: str, controllers: str = "cpu memory pids", root: str = "/") -> None:
        """Make a cgroup and those above it, none of them ours to write but the unit's."""
        folder = self.mount
        for part in ("", *Path(name).relative_to(root).parts):
            folder /= part
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cgroup.procs").touch()
            (folder / "cgroup.controllers").write_text(f"{controllers}\n")

    def live_in(self, name: str, root: str = "/") -> None:
        (self.process / "cgroup").write_text(f"4:memory:/x\n1:name=systemd:/y\n0::{name}\n")
        escaped = str(self.mount).replace(" ", "\\040")
        (self.process / "mountinfo").write_text(
            "22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw\n"
            f"41 31 0:38 {root} {escaped} rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n"
        )

    def ours(self, monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
        """Let these folders alone be writable, whoever runs the tests."""
        allowed = {folder / "cgroup.procs" for folder in folders}
        monkeypatch.setattr("os.access", lambda path, _: path in allowed)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_delegated_subtree_is_prepared(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.ours(monkeypatch, tree.unit, tree.unit.parent)
    cgroups = prepare_cgroups(tree.process)
    assert cgroups == Cgroups(tree.unit / "hooks", "/user.slice/app.slice")
    for folder in (tree.unit, tree.unit / "hooks"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory"
    # After a restart everything is there already.
    assert prepare_cgroups(tree.process) == cgroups


def test_root_reaches_everything(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.ours(monkeypatch, tree.mount, *tree.unit.parents, tree.unit)
    cgroups = prepare_cgroups(tree.process)
    assert cgroups is not None
    assert cgroups.reach == ""


def test_subtree_seen_through_a_container(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount shows a part of the hierarchy, the process is told its whole name."""
    tree.add(f"/box/a/{LEAF}", root="/box")
    tree.live_in(f"/box/a/{LEAF}", root="/box")
    tree.ours(monkeypatch, tree.mount / "a")
    assert prepare_cgroups(tree.process) == Cgroups(tree.mount / "a/hooks", "/box/a")


@pytest.mark.parametrize("name", ["/", UNIT, "/user.slice/app.slice/terminal.scope", "/a/../b"])
def test_cgroup_of_others_is_left_alone(tree: Tree, name: str) -> None:
    tree.live_in(name)
    before = sorted(tree.mount.rglob("*"))
    assert prepare_cgroups(tree.process) is None
    assert sorted(tree.mount.rglob("*")) == before


def test_machine_without_cgroup_v2(tree: Tree) -> None:
    (tree.process / "cgroup").write_text("4:memory:/x\n")
    assert prepare_cgroups(tree.process) is None
    tree.live_in(f"{UNIT}/{LEAF}")
    (tree.process / "mountinfo").write_text("22 1 0:20 / /proc rw - proc proc rw\n")
    assert prepare_cgroups(tree.process) is None


def test_subtree_without_memory_is_said_once(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    tree.add(f"{UNIT}/{LEAF}", controllers="pids")
    with pytest.raises(OSError, match="memory") as raised:
        prepare_cgroups(tree.process)
    assert raised.value.errno == errno.EOPNOTSUPP
    assert not (tree.unit / "hooks").exists()
    assert open_cgroups(tree.process) is None
    assert len(caplog.records) == 1


def test_subtree_that_vanished_is_no_failure(tree: Tree) -> None:
    tree.live_in(f"/gone/{LEAF}")
    assert open_cgroups(tree.process) is None


async def test_sweeper_removes_what_stays_empty(tmp_path: Path) -> None:
    empty, lived_in, other = (tmp_path / name for name in ("run-1", "run-2", "kept"))
    for folder in (empty, lived_in, other):
        folder.mkdir()
    (lived_in / "cgroup.procs").touch()
    sweeper = CgroupSweeper(tmp_path)
    await sweeper.look()
    # A launcher that has just made its cgroup is not in it yet.
    assert empty.exists()
    await sweeper.look()
    assert not empty.exists()
    assert lived_in.exists()
    assert other.exists()
