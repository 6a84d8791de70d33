"""The policy says exactly what the contract says, in the launcher's words."""

import re
import zlib
from pathlib import Path

import pytest
from tests.policies import NAMES, PROJECT, vector

from better_claude.act.policy import (
    MAXIMUM_BACKGROUND,
    MAXIMUM_PROJECTS,
    MAXIMUM_PROJECTS_BYTES,
    Cgroups,
    KnownHooks,
    build_policy,
    project_key,
    publish_policy,
    quote_pattern,
)
from better_claude.contract import Contract, load_contract
from better_claude.model import fnv1a64
from better_claude.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths.from_environment({"BETTER_CLAUDE_STATE": str(tmp_path / "state")})
    made.create()
    return made


@pytest.mark.parametrize("name", NAMES)
def test_policy_is_the_vectors(name: str, tmp_path: Path) -> None:
    wanted = vector(name, tmp_path)
    projects = {PROJECT: wanted.project} if wanted.project else {}
    assert build_policy(wanted.user, projects).decode() == wanted.policy.decode()


@pytest.mark.parametrize("name", NAMES)
def test_contract_says_the_same_of_every_case(name: str, tmp_path: Path) -> None:
    wanted = vector(name, tmp_path)
    for case in wanted.cases:
        limits = wanted.contract_of(case).hook_limits(case.event, case.key, "", case.command)
        said = (limits.timeout_ms, limits.memory_bytes, str(limits.enforcement))
        assert said == (case.timeout_ms, case.memory_bytes, case.mode), case


def test_every_line_ends_in_its_checksum() -> None:
    lines = build_policy(load_contract(), {}).splitlines()
    for line in lines:
        text, _, checksum = line.rpartition(b" *")
        assert int(checksum, 16) == zlib.crc32(text)
    assert lines[0].startswith(b"better-claude-policy 1 *")
    assert re.match(rb"end (\d+) \*", lines[-1])[1] == b"%d" % (len(lines) - 2)  # type: ignore[index]


def test_pattern_is_one_field() -> None:
    assert quote_pattern("a b%c\n\t\x7fé") == "a%20b%25c%0A%09%7Fé"


def test_publishing_twice_writes_once(paths: Paths) -> None:
    contract = load_contract()
    assert publish_policy(paths, contract)
    first = paths.policy.stat()
    assert not publish_policy(paths, contract)
    assert paths.policy.stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o600


def test_a_failed_replacement_leaves_the_old_policy_and_no_rubbish(paths: Paths) -> None:
    publish_policy(paths, load_contract())
    before = paths.policy.read_bytes()
    paths.policy.unlink()
    paths.policy.mkdir()
    with pytest.raises(OSError, match="policy"):
        publish_policy(paths, load_contract())
    paths.policy.rmdir()
    assert [path.name for path in paths.state.iterdir() if "policy" in path.name] == []
    assert publish_policy(paths, load_contract())
    assert paths.policy.read_bytes() == before


def test_only_so_many_projects_are_written(tmp_path: Path) -> None:
    (tmp_path / ".better-claude").mkdir()
    (tmp_path / ".better-claude/contract.toml").write_text('[hook_timeouts]\nStop = "1ms"\n')
    own: Contract = load_contract(project=tmp_path)
    text = build_policy(load_contract(), {f"/{n}": own for n in range(MAXIMUM_PROJECTS + 5)})
    scopes = set(re.findall(rb"^event (\S+) ", text, re.MULTILINE)) - {b"-"}
    assert len(scopes) == MAXIMUM_PROJECTS


def test_a_project_that_asks_for_too_much_has_no_say(tmp_path: Path) -> None:
    projects = {}
    for name, length in (("greedy", MAXIMUM_PROJECTS_BYTES), ("modest", 10)):
        path = tmp_path / name / ".better-claude/contract.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f'[hook."*{"a" * length}"]\ntimeout = "70ms"\n')
        projects[name] = load_contract(None, tmp_path / name)
    text = build_policy(load_contract(), projects)
    assert len(text) < MAXIMUM_PROJECTS_BYTES
    assert f"match {project_key('modest')} *aaaaaaaaaa timeout_ms=70" in text.decode()


def test_a_project_without_a_difference_has_no_lines(tmp_path: Path) -> None:
    own = load_contract(project=tmp_path)
    assert build_policy(load_contract(), {"/p": own}) == build_policy(load_contract(), {})


def test_project_key_is_the_hash_of_its_bytes() -> None:
    assert project_key("") == "cbf29ce484222325"
    assert project_key("a") == "af63dc4c8601ec8c"
    assert len(project_key("/p/\udcff")) == 16


def background(*commands: str) -> KnownHooks:
    return KnownHooks(background=frozenset(commands))


def test_a_background_hook_is_matched_as_its_very_text(tmp_path: Path) -> None:
    user = tmp_path / "contract.toml"
    user.write_text('[hook."x.sh"]\ntimeout = "1s"\n')
    lines = build_policy(load_contract(user), {}, background("x.sh *[a] \\d")).decode().splitlines()
    matches = [line.rpartition(" *")[0] for line in lines if line.startswith("match")]
    assert matches == [
        "match - x.sh%20[*][[]a]%20\\d timeout_ms=600000",
        "match - *x.sh* timeout_ms=1000",
    ]


def test_background_hooks_are_bounded_in_number_and_length() -> None:
    commands = [f"hook-{number}" for number in range(MAXIMUM_BACKGROUND + 9)]
    lines = build_policy(load_contract(), {}, background(*commands)).splitlines()
    assert sum(line.startswith(b"match") for line in lines) == MAXIMUM_BACKGROUND
    assert b"match" not in build_policy(load_contract(), {}, background("x" * 1000, "\ud800" * 400))


def test_the_users_own_hooks_are_named_where_a_project_has_a_say() -> None:
    known = KnownHooks(users_own=frozenset({"guard.py"}))
    contract = load_contract()
    assert b"owner=user" not in build_policy(contract, {}, known)
    named = f"hook - {fnv1a64(b'guard.py'):016x} owner=user *".encode()
    assert named in build_policy(contract, {"/project": contract}, known)


def test_cgroups_of_hooks_are_named_in_the_global_line() -> None:
    cgroups = Cgroups(Path("/sys/fs/cgroup/a b/hooks"), "/a b")
    (line,) = [
        line
        for line in build_policy(load_contract(), {}, cgroups=cgroups).splitlines()
        if line.startswith(b"global ")
    ]
    assert b" cgroup=/sys/fs/cgroup/a%20b/hooks cgroup_from=/a%20b *" in line
    assert b"cgroup" not in build_policy(load_contract(), {})
