"""Contract, publisher and launcher say the same of every hook."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.launcher_driver import ROOT, SOURCES, compile_c
from tests.policies import NAMES, PROJECT, Case, vector

from better_claude.act.policy import KnownHooks, build_policy, project_key
from better_claude.contract import Contract, load_contract
from better_claude.contract.load import PROJECT_FILE

SANITIZE = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def reader() -> Path:
    sources = (ROOT / "tests/programs/policy_cli.c", SOURCES / "policy.c", SOURCES / "text.c")
    return compile_c("policy_cli", *sources, flags=SANITIZE)


def said(reader: Path, policy: Path, cases: Sequence[Case]) -> list[tuple[int, int, str]]:
    """Return what the launcher's reader makes of a policy, case by case."""
    fields = [
        (project_key(case.project) if case.project else "", case.key, case.event, case.command)
        for case in cases
    ]
    stdin = "".join(f"{field}\0" for case in fields for field in case).encode()
    done = subprocess.run([reader, policy], input=stdin, capture_output=True, check=True)
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    return [(int(timeout), int(memory), mode) for timeout, memory, mode in rows]


@pytest.mark.parametrize("name", NAMES)
def test_launcher_reads_the_vectors(name: str, reader: Path, tmp_path: Path) -> None:
    wanted = vector(name, tmp_path)
    policy = tmp_path / "policy"
    policy.write_bytes(wanted.policy)
    expected = [(case.timeout_ms, case.memory_bytes, case.mode) for case in wanted.cases]
    assert said(reader, policy, wanted.cases) == expected


EVENTS = ("PreToolUse", "PostToolUse", "Stop", "SessionStart", "Setup", "")
COMMANDS = ("guard.py", "python3 guard.py -v", "a b%c", "", "[x]", "éé", "g" * 900)
PATTERNS = (
    "guard.py",
    "*guard*",
    "a b%c",
    "[x]",
    "[!g]*",
    "?",
    "é",
    "*",
    f"{0xCBF29CE484222325:x}",
)


def _pattern(hook: Sequence[object]) -> str:
    return str(hook[0])


LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from(["1ms", "700ms", "3s", "90s"]),
        "memory": st.sampled_from(["1MB", "50MB", "2GB"]),
        "mode": st.sampled_from(["enforce", "observe"]),
    },
)
FILES = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["enforce", "observe"]),
        "events": st.dictionaries(
            st.sampled_from(["PreToolUse", "Stop", "Setup", "default"]),
            st.sampled_from(["1ms", "700ms", "3s", "90s"]),
        ),
        "memory": st.sampled_from(["1MB", "50MB", "2GB"]),
        "hooks": st.lists(st.tuples(st.sampled_from(PATTERNS), LIMITS), unique_by=_pattern),
    }
)


def written(spec: dict[str, object], path: Path) -> None:
    """Write a contract file; keys before patterns, because in a policy a key is always first."""
    hooks = sorted(spec["hooks"], key=lambda hook: len(hook[0]) == 16)  # type: ignore[call-overload]
    lines = [f'mode = "{spec["mode"]}"', "[hook_timeouts]"]
    lines += [f'{event} = "{limit}"' for event, limit in spec["events"].items()]  # type: ignore[attr-defined]
    lines += ["[memory]", f'hook = "{spec["memory"]}"']
    for pattern, terms in hooks:
        lines += [f'[hook."{pattern}"]', *(f'{key} = "{value}"' for key, value in terms.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=FILES, project=FILES)
def test_launcher_agrees_with_any_contract(
    reader: Path, tmp_path: Path, user: dict[str, object], project: dict[str, object]
) -> None:
    written(user, tmp_path / "user.toml")
    written(project, tmp_path / PROJECT_FILE)
    contracts: dict[str, Contract] = {
        "/elsewhere": load_contract(tmp_path / "user.toml"),
        PROJECT: load_contract(tmp_path / "user.toml", tmp_path),
    }
    policy = tmp_path / "policy"
    policy.write_bytes(build_policy(contracts["/elsewhere"], {PROJECT: contracts[PROJECT]}))
    cases, expected = [], []
    for where, contract in contracts.items():
        for event in EVENTS:
            for command in COMMANDS:
                case = Case(event, command, 0, 0, "", where)
                limits = contract.hook_limits(event, case.key, "", command)
                cases.append(case)
                expected.append((limits.timeout_ms, limits.memory_bytes, str(limits.enforcement)))
    assert said(reader, policy, cases) == expected


def test_a_project_has_no_say_over_the_users_own_hooks(reader: Path, tmp_path: Path) -> None:
    written(TIGHT, tmp_path / PROJECT_FILE)
    projects = {PROJECT: load_contract(None, tmp_path)}
    known = KnownHooks(users_own=frozenset({"guard.py"}))
    policy = tmp_path / "policy"
    policy.write_bytes(build_policy(load_contract(), projects, known))
    guard = Case("PreToolUse", "guard.py", 0, 0, "", PROJECT)
    other = Case("PreToolUse", "other.py", 0, 0, "", PROJECT)
    assert said(reader, policy, [guard, other]) == [
        (2000, 50 << 20, "enforce"),
        (1, 1 << 20, "enforce"),
    ]


TIGHT: dict[str, object] = {
    "mode": "enforce",
    "events": {"PreToolUse": "1ms"},
    "memory": "1MB",
    "hooks": [("*", {"timeout": "1ms", "memory": "1MB"})],
}
