"""The policy follows the contract files and the settings files of every known project."""

import json
from pathlib import Path
from typing import Any

import pytest

from better_claude.act.policy import Cgroups, project_key, publish_policy
from better_claude.act.projects import note_project, noted_projects
from better_claude.claude.hooks.inventory import background_commands, take_inventory
from better_claude.claude.places import Places
from better_claude.contract import load_contract
from better_claude.errors import ContractError
from better_claude.paths import Paths
from better_claude.service.contracts import ContractWatch


def write_hooks(project: Path, *handlers: dict[str, Any]) -> None:
    path = project / ".claude/settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"hooks": {"PostToolUse": [{"hooks": list(handlers)}]}}))


def handler(command: str, **more: Any) -> dict[str, Any]:
    return {"type": "command", "command": command, **more}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    environ = {"BETTER_CLAUDE_STATE": str(tmp_path / "state"), "HOME": str(tmp_path)}
    made = Paths.from_environment(environ)
    made.create()
    return made


async def test_async_hooks_of_a_known_project_are_let_run(paths: Paths, tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_hooks(project, handler("./tests.sh", **{"async": True}), handler("./guard.sh"))
    watch = ContractWatch(paths)
    await watch.look()
    assert "match" not in paths.policy.read_text()
    assert watch.notice([str(project)])
    await watch.look()
    assert "match - ./tests.sh timeout_ms=600000" in paths.policy.read_text()
    assert "guard.sh" not in paths.policy.read_text()
    write_hooks(project, handler("./guard.sh"))
    await watch.look()
    assert "match" not in paths.policy.read_text()
    watch.close()


async def test_settings_that_are_no_settings_change_nothing(paths: Paths, tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_hooks(project, handler("x", **{"async": True}))
    (project / ".claude/settings.json").write_text("[" * 100_000)
    watch = ContractWatch(paths)
    watch.notice([str(project)])
    await watch.look()
    assert "match" not in paths.policy.read_text()
    watch.close()


async def test_a_broken_contract_keeps_what_was_in_force(paths: Paths) -> None:
    paths.contract.parent.mkdir(parents=True, exist_ok=True)
    paths.contract.write_text('[hook_timeouts]\nStop = "750ms"\n')
    watch = ContractWatch(paths)
    await watch.look()
    before = paths.policy.read_bytes()
    assert b"event - Stop timeout_ms=750 " in before
    paths.contract.write_text("[")
    with pytest.raises(ContractError, match="cannot be read"):
        await watch.look()
    assert paths.policy.read_bytes() == before
    watch.close()


async def test_a_broken_contract_is_said_again_but_read_once(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths.contract.parent.mkdir(parents=True, exist_ok=True)
    watch = ContractWatch(paths)
    await watch.look()
    reads: list[Path] = []

    def broken(path: Path, *_: Path) -> None:
        reads.append(path)
        raise ContractError("contract-unreadable", "broken", "Mend it.")

    monkeypatch.setattr("better_claude.service.contracts.load_contract", broken)
    paths.contract.write_text("[")
    for _ in range(3):
        with pytest.raises(ContractError, match="broken"):
            await watch.look()
    assert len(reads) == 1
    paths.contract.chmod(0o644)
    with pytest.raises(ContractError, match="broken"):
        await watch.look()
    assert len(reads) == 2
    watch.close()


async def test_the_newest_projects_are_the_ones_in_force(paths: Paths, tmp_path: Path) -> None:
    watch = ContractWatch(paths)
    for number in range(300):
        contract = tmp_path / f"p{number}/.better-claude/contract.toml"
        contract.parent.mkdir(parents=True)
        contract.write_text('[hook_timeouts]\nStop = "70ms"\n')
        assert watch.notice([str(tmp_path / f"p{number}")])
    assert not watch.notice([str(tmp_path / "p100")])
    await watch.look()
    text = paths.policy.read_text()
    in_force = [n for n in range(300) if f" {project_key(str(tmp_path / f'p{n}'))} Stop " in text]
    assert in_force == [100, *range(237, 300)]
    watch.close()


def test_a_command_that_is_also_waited_for_is_no_background_hook(tmp_path: Path) -> None:
    write_hooks(
        tmp_path,
        handler("both.sh", **{"async": True}),
        handler("both.sh"),
        handler("wakes.sh", asyncRewake=True),
    )
    inventory = take_inventory(Places(tmp_path, tmp_path / ".config", tmp_path, tmp_path / "none"))
    assert background_commands(inventory) == {"wakes.sh"}


async def test_a_noted_project_is_in_force_before_its_first_hook(
    paths: Paths, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    contract = project / ".better-claude/contract.toml"
    contract.parent.mkdir(parents=True)
    contract.write_text('[hook_timeouts]\nStop = "70ms"\n')
    watch = ContractWatch(paths)
    await watch.look()
    note_project(paths, project)
    await watch.look()
    line = f"event {project_key(str(project))} Stop timeout_ms=70 "
    assert line in paths.policy.read_text()
    watch.close()


def test_projects_are_noted_once_and_read_with_care(paths: Paths, tmp_path: Path) -> None:
    for name in ("a", "b", "a", "c\nd"):
        note_project(paths, tmp_path / name)
    with paths.projects.open("ab") as file:
        file.write(b"relative\n\xff\n/odd\xff\n\n")
    assert noted_projects(paths) == [str(tmp_path / "a"), str(tmp_path / "b"), "/odd\udcff"]


async def test_policy_that_another_wrote_is_published_again(paths: Paths) -> None:
    """`install` publishes what it knows for the time being: no projects, no cgroups."""
    watch = ContractWatch(paths, Cgroups(Path("/sys/fs/cgroup/a/hooks"), "/a"))
    await watch.look()
    wanted = paths.policy.read_text()
    assert "cgroup=/sys/fs/cgroup/a/hooks" in wanted
    publish_policy(paths, load_contract())
    assert "cgroup" not in paths.policy.read_text()
    await watch.look()
    assert paths.policy.read_text() == wanted
    watch.close()
