"""doctor as it is called: exit status, output, fixes, and interpreters that are really started."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import Sandbox

from better_claude.claude.hooks.startup import measure_starts
from better_claude.commands import main
from better_claude.service.start import stop_service

Json = dict[str, Any]
Capture = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("commands_home")


@pytest.fixture
def settings(sandbox: Sandbox) -> Path:
    path = sandbox.home / ".claude/settings.json"
    path.parent.mkdir()
    return path


def doctor(capsys: Capture, *arguments: str) -> tuple[int, list[Json], list[Json]]:
    capsys.readouterr()
    status = main(["doctor", "--json", *arguments])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    hooks = [row for row in rows if row["kind"] == "configured_hook"]
    return status, hooks, [row for row in rows if row["kind"] == "finding"]


def codes(findings: list[Json]) -> set[str]:
    return {str(finding["code"]) for finding in findings}


def write(path: Path, *handlers: Json) -> None:
    path.write_text(json.dumps({"hooks": {"Stop": [{"hooks": list(handlers)}]}}, indent=2))


def test_nothing_at_all_is_no_error(capsys: Capture) -> None:
    status, hooks, findings = doctor(capsys)
    assert (status, hooks, codes(findings)) == (0, [], {"not-installed"})


def test_an_error_is_exit_status_1(settings: Path, capsys: Capture) -> None:
    write(settings, {"type": "command", "command": "/nowhere/x.sh", "timeout": 1})
    status, hooks, findings = doctor(capsys)
    assert status == 1
    assert (hooks[0]["covered"], hooks[0]["limit_ms"], hooks[0]["name"]) == (False, 500, "x.sh")
    assert findings[0]["code"] == "script-missing"
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "script-missing" in out
    assert "do: " in out


def test_the_installation_is_looked_at(sandbox: Sandbox, settings: Path, capsys: Capture) -> None:
    assert main(["install"]) == 0
    status, _, findings = doctor(capsys)
    assert (status, codes(findings)) == (0, set())
    stop_service(sandbox.paths)
    assert codes(doctor(capsys)[2]) == {"service-down"}
    sandbox.paths.launcher.write_bytes(b"#!/bin/sh\n")
    assert codes(doctor(capsys)[2]) == {"service-down", "launcher-other"}
    sandbox.paths.launcher.unlink()
    status, _, findings = doctor(capsys)
    assert (status, codes(findings)) == (1, {"service-down", "launcher-gone"})


def test_a_foreign_prefix_and_a_broken_contract(
    sandbox: Sandbox, settings: Path, capsys: Capture
) -> None:
    settings.write_text('{"env": {"CLAUDE_CODE_SHELL_PREFIX": "/usr/bin/nice"}}')
    sandbox.paths.contract.parent.mkdir(parents=True)
    sandbox.paths.contract.write_text("nonsense")
    status, _, findings = doctor(capsys)
    assert (status, codes(findings)) == (1, {"prefix-foreign", "contract-broken"})
    (broken,) = (one for one in findings if one["code"] == "contract-broken")
    assert "A service that was running before keeps those" in broken["message"]


def test_exec_form_is_fixed_and_undone(sandbox: Sandbox, settings: Path, capsys: Capture) -> None:
    write(settings, {"type": "command", "command": "/bin/echo", "args": ["a b"], "timeout": 0.1})
    before = settings.read_bytes()
    assert "exec-form" in codes(doctor(capsys)[2])
    _, hooks, findings = doctor(capsys, "--fix")
    assert "exec-form" not in codes(findings)
    assert (hooks[0]["covered"], hooks[0]["args"]) == (True, ["/bin/echo", "a b"])
    assert hooks[0]["command"] == str(sandbox.paths.launcher)
    (backup,) = (sandbox.state / "backups").iterdir()
    assert backup.read_bytes() == before
    fixed = settings.read_bytes()
    doctor(capsys, "--fix")
    assert settings.read_bytes() == fixed
    doctor(capsys, "--undo-fix")
    assert settings.read_bytes() == before


def test_uninstall_undoes_a_fix_as_well(settings: Path, capsys: Capture) -> None:
    write(settings, {"type": "command", "command": "/bin/echo", "args": ["a b"]})
    before = settings.read_bytes()
    assert main(["install"]) == 0
    doctor(capsys, "--fix")
    assert main(["install"]) == 0
    assert "already installed" in capsys.readouterr().out
    assert main(["uninstall"]) == 0
    assert "byte for byte" in capsys.readouterr().out
    assert settings.read_bytes() == before
    doctor(capsys, "--fix")
    assert main(["uninstall"]) == 0
    assert settings.read_bytes() == before


def test_a_projects_exec_form_is_not_rewritten(sandbox: Sandbox, capsys: Capture) -> None:
    path = sandbox.project / ".claude/settings.json"
    path.parent.mkdir()
    write(path, {"type": "command", "command": "/bin/echo", "args": ["a"]})
    before = path.read_bytes()
    _, _, findings = doctor(capsys, "--fix")
    assert "exec-form" in codes(findings)
    assert path.read_bytes() == before


def test_another_project(sandbox: Sandbox, capsys: Capture) -> None:
    other = sandbox.root / "other"
    (other / ".claude").mkdir(parents=True)
    write(other / ".claude/settings.json", {"type": "command", "command": "true"})
    assert len(doctor(capsys, "--project", str(other))[1]) == 1
    assert main(["doctor", "--project", "/no/such"]) == 2
    assert "[no-such-folder]" in capsys.readouterr().err


def interpreter(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_an_interpreters_start_is_measured(
    sandbox: Sandbox, settings: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(sandbox.root / "bin", "node", "sleep 0.6")
    monkeypatch.setenv("PATH", f"{sandbox.root}/bin:/usr/bin:/bin")
    write(settings, {"type": "command", "command": "node -e 0"})
    status, _, findings = doctor(capsys)
    assert status == 1
    assert "interpreter-too-slow" in codes(findings)


def test_no_interpreter_of_the_project_is_started(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = sandbox.root / "trap"
    interpreter(sandbox.project / "bin", "node", f"touch {trap}")
    interpreter(sandbox.root / "bin", "ruby", "exit 1")
    monkeypatch.setenv("PATH", f"{sandbox.project}/bin:{sandbox.root}/bin:/usr/bin:/bin")
    measured = measure_starts(["node", "ruby", "sh"], sandbox.project)
    assert measured.keys() == {"sh"}
    assert not trap.exists()


def prefixed(path: Path, prefix: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"env": {"CLAUDE_CODE_SHELL_PREFIX": prefix}}))


def finding(capsys: Capture, code: str) -> Json:
    (found,) = [one for one in doctor(capsys)[2] if one["code"] == code]
    return found


def test_a_prefix_that_wins_over_ours(sandbox: Sandbox, settings: Path, capsys: Capture) -> None:
    assert main(["install"]) == 0
    local = sandbox.project / ".claude/settings.local.json"
    prefixed(local, "/usr/bin/nice")
    found = finding(capsys, "prefix-overruled")
    assert found["file"] == str(local)
    assert "not called" in found["message"]
    assert "install --scope local" in found["remedy"]
    assert main(["install", "--scope", "local"]) == 0
    assert codes(doctor(capsys)[2]) == set()
    prefixed(local, "")
    assert "is empty in" in finding(capsys, "prefix-overruled")["message"]


def test_a_prefix_that_ours_does_not_call(
    sandbox: Sandbox, settings: Path, capsys: Capture
) -> None:
    assert main(["install", "--scope", "local"]) == 0
    assert codes(doctor(capsys)[2]) == set()
    prefixed(settings, "/usr/bin/nice")
    found = finding(capsys, "prefix-not-chained")
    assert found["file"] == str(settings)
    assert "install --scope local" in found["remedy"]
    assert main(["install", "--scope", "local"]) == 0
    assert codes(doctor(capsys)[2]) == set()


def test_a_token_that_others_may_read(settings: Path, capsys: Capture) -> None:
    settings.write_text("{}")
    settings.chmod(0o644)
    capsys.readouterr()
    assert main(["install", "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert f"chmod 600 {settings}" in note
    assert codes(doctor(capsys)[2]) == {"token-readable"}
    settings.chmod(0o600)
    assert codes(doctor(capsys)[2]) == set()


def coverage(hooks: list[Json]) -> dict[str, tuple[bool, str]]:
    return {hook["name"]: (hook["covered"], hook["coverage"]) for hook in hooks}


def test_covered_means_that_the_prefix_is_in_force(
    sandbox: Sandbox, settings: Path, capsys: Capture
) -> None:
    reached = {"matcher": "Bash", "hooks": [{"type": "command", "command": "true"}]}
    broken = {"matcher": "(Bash", "hooks": [{"type": "command", "command": "false"}]}
    settings.write_text(json.dumps({"hooks": {"PreToolUse": [reached, broken]}}))
    never = (False, "never runs")
    assert coverage(doctor(capsys)[1]) == {"true": (False, "not yet"), "false": never}
    main(["doctor"])
    told = capsys.readouterr()
    assert "0 covered, 1 not yet, 1 never runs;" in told.err
    assert " yes " not in told.out
    assert main(["install"]) == 0
    assert coverage(doctor(capsys)[1]) == {"true": (True, "yes"), "false": never}
    main(["doctor"])
    assert "1 covered, 1 never runs;" in capsys.readouterr().err
    sandbox.paths.launcher.unlink()
    assert coverage(doctor(capsys)[1]) == {"true": (False, "not yet"), "false": never}
