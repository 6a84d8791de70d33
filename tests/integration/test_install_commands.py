"""install, uninstall and run as they are called, with the real service in a home of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import Sandbox

from better_claude.commands import main

Json = dict[str, Any]
Capture = pytest.CaptureFixture[str]
MINE = '{\n\t"model": "opus",\n\n\t"env": { "EDITOR": "vi" },\n\t"note": "caf\\u00e9 ö"\n}'


pytestmark = pytest.mark.usefixtures("commands_home")


@pytest.fixture
def settings(sandbox: Sandbox) -> Path:
    path = sandbox.home / ".claude/settings.json"
    path.parent.mkdir()
    path.write_text(MINE)
    return path


@pytest.fixture
def call(capsys: Capture) -> Callable[..., Json]:
    def one(*arguments: str, status: int = 0) -> Json:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == status
        answer = json.loads(capsys.readouterr().out)
        assert isinstance(answer, dict)
        return answer

    return one


def env_in(path: Path) -> Json:
    env = json.loads(path.read_text())["env"]
    assert isinstance(env, dict)
    return env


def test_there_and_back(sandbox: Sandbox, settings: Path, call: Callable[..., Json]) -> None:
    assert call("install", "--dry-run")["status"] == "planned"
    assert settings.read_text() == MINE
    assert not sandbox.state.exists(), "a dry run leaves nothing"
    planned = call("install")
    assert planned["status"] == "installed"
    token = sandbox.paths.token.read_text().strip()
    assert token in settings.read_text()
    assert token not in json.dumps(planned)
    written = settings.read_bytes()
    assert call("install")["status"] == "already installed"
    assert settings.read_bytes() == written
    assert sandbox.paths.launcher.exists()
    assert sandbox.paths.policy.exists()
    assert call("uninstall")["status"] == "restored byte for byte"
    assert settings.read_text() == MINE
    assert call("uninstall")["status"] == "not installed"
    assert sandbox.paths.launcher.exists(), "running sessions go on"


def test_the_diff_comes_first_and_holds_no_token(
    sandbox: Sandbox, settings: Path, capsys: Capture
) -> None:
    assert main(["install"]) == 0
    out = capsys.readouterr().out
    assert f"--- {settings}" in out
    assert '+\t\t"CLAUDE_CODE_SHELL_PREFIX"' in out or "CLAUDE_CODE_SHELL_PREFIX" in out
    assert sandbox.paths.token.read_text().strip() not in out
    assert "no history" in out


@pytest.mark.parametrize("scope", ["user", "project", "local"])
def test_a_file_that_was_not_there_goes_away_again(
    sandbox: Sandbox, call: Callable[..., Json], scope: str
) -> None:
    path = Path(call("install", "--scope", scope)["path"])
    env = env_in(path)
    assert env["CLAUDE_CODE_SHELL_PREFIX"] == str(sandbox.paths.launcher)
    assert ("OTEL_EXPORTER_OTLP_HEADERS" in env) is (scope == "user")
    assert ("BETTER_CLAUDE_STATE" in env) is (scope != "project")
    call("uninstall", "--scope", scope)
    assert not path.exists()
    assert not path.parent.exists()


def test_a_later_edit_is_kept(settings: Path, call: Callable[..., Json]) -> None:
    call("install")
    document = json.loads(settings.read_text())
    document["env"]["LATER"] = "1"
    document["autoCompactWindow"] = 120_000
    settings.write_text(json.dumps(document, indent=4))
    restored = call("uninstall")
    assert restored["status"] == "restored by key"
    assert [change["path"] for change in restored["edited"]] == ["autoCompactWindow"]
    left = json.loads(settings.read_text())
    assert left == {
        **json.loads(MINE),
        "env": {"EDITOR": "vi", "LATER": "1"},
        "autoCompactWindow": 120_000,
    }


def test_a_later_prefix_is_chained_and_comes_back(
    sandbox: Sandbox, settings: Path, call: Callable[..., Json]
) -> None:
    call("install")
    document = json.loads(settings.read_text())
    document["env"]["CLAUDE_CODE_SHELL_PREFIX"] = "/usr/bin/nice"
    settings.write_text(json.dumps(document))
    assert call("install")["status"] == "installed"
    env = env_in(settings)
    assert env["BETTER_CLAUDE_PREFIX"] == "/usr/bin/nice"
    assert env["CLAUDE_CODE_SHELL_PREFIX"] == str(sandbox.paths.launcher)
    call("uninstall")
    assert env_in(settings) == {"EDITOR": "vi", "CLAUDE_CODE_SHELL_PREFIX": "/usr/bin/nice"}


def test_uninstall_without_our_records(
    sandbox: Sandbox, settings: Path, call: Callable[..., Json]
) -> None:
    settings.write_text('{\n  "env": {\n    "CLAUDE_CODE_SHELL_PREFIX": "/usr/bin/nice"\n  }\n}\n')
    before = settings.read_text()
    call("install")
    for file in sandbox.paths.installs.rglob("*"):
        if file.is_file():
            file.unlink()
    assert call("uninstall")["status"] == "restored by key"
    assert settings.read_text() == before


def test_telemetry_that_went_elsewhere_is_fed_until_uninstall(
    sandbox: Sandbox, settings: Path, call: Callable[..., Json]
) -> None:
    telemetry = {
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    settings.write_text(json.dumps({"env": telemetry}))
    call("install")
    forward = sandbox.state / "forward.json"
    assert json.loads(forward.read_text()) == {
        "metrics": {"url": "http://127.0.0.1:9/v1/metrics", "headers": {}}
    }
    assert forward.stat().st_mode & 0o777 == 0o600
    call("install")
    assert forward.exists()
    call("uninstall")
    assert not forward.exists()
    assert env_in(settings) == telemetry


def test_mode_goes_into_the_contract(sandbox: Sandbox, call: Callable[..., Json]) -> None:
    contract = sandbox.paths.contract
    contract.parent.mkdir(parents=True)
    contract.write_text('# mine\n[memory]\nhook = "80MB"\n')
    call("install", "--mode", "observe")
    assert contract.read_text().startswith('# mine\nmode = "observe"\n')
    assert 'hook = "80MB"' in contract.read_text()
    assert b"mode=observe" in sandbox.paths.policy.read_bytes()


@pytest.mark.parametrize("arguments", [("install",), ("uninstall",), ("install", "--dry-run")])
def test_a_refused_file_is_untouched(
    settings: Path, capsys: Capture, arguments: tuple[str, ...]
) -> None:
    settings.write_text('{"a": 1} // mine')
    assert main(list(arguments)) == 1
    error = capsys.readouterr().err
    assert "[settings-comments]" in error
    assert "line 1" in error
    assert settings.read_text() == '{"a": 1} // mine'


def test_all_and_purge(sandbox: Sandbox, settings: Path, capsys: Capture) -> None:
    for scope in ("user", "project", "local"):
        assert main(["install", "--scope", scope]) == 0
    assert main(["uninstall", "--purge", "--yes"]) == 2
    assert "[still-installed]" in capsys.readouterr().err
    assert main(["uninstall", "--all", "--purge"]) == 2
    assert "[purge-unconfirmed]" in capsys.readouterr().err
    assert main(["uninstall", "--all", "--purge", "--yes"]) == 0
    assert settings.read_text() == MINE
    assert not sandbox.state.exists()
    assert not (sandbox.project / ".claude").exists()


CLIENT = """#!/bin/sh
printf '%s\\n' "$@"
cat "$2" >{dump}/settings
env >{dump}/env
exit 7
"""


@pytest.fixture
def client(sandbox: Sandbox) -> Path:
    path = sandbox.root / "bin/claude"
    path.parent.mkdir()
    path.write_text(CLIENT.format(dump=sandbox.root))
    path.chmod(0o755)
    return path


def run(sandbox: Sandbox, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "better_claude", "run", *arguments],
        cwd=sandbox.project,
        env=sandbox.environ(more),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_run_becomes_the_client_and_changes_nothing(
    sandbox: Sandbox, settings: Path, client: Path
) -> None:
    before = files_below(sandbox.home) | files_below(sandbox.project)
    done = run(sandbox, "--mode", "observe", "--", str(client), "-p", "say hi", "--model=x")
    assert done.returncode == 7
    option, document, *rest = done.stdout.splitlines()
    assert (option, rest) == ("--settings", ["-p", "say hi", "--model=x"])
    assert Path(document).is_relative_to(sandbox.state)
    assert Path(document).stat().st_mode & 0o777 == 0o600
    passed = json.loads((sandbox.root / "settings").read_text())
    assert passed["env"]["CLAUDE_CODE_SHELL_PREFIX"] == str(sandbox.paths.launcher)
    assert passed["env"]["BETTER_CLAUDE_MODE"] == "observe"
    assert passed["autoCompactWindow"] == 150_000
    environment = (sandbox.root / "env").read_text().splitlines()
    assert f"CLAUDE_CODE_SHELL_PREFIX={sandbox.paths.launcher}" in environment
    assert files_below(sandbox.home) | files_below(sandbox.project) == before
    assert settings.read_text() == MINE


def test_run_keeps_the_users_own_settings_and_prefix(
    sandbox: Sandbox, settings: Path, client: Path
) -> None:
    own = '{"model": "opus", "env": {"CLAUDE_CODE_SHELL_PREFIX": "/usr/bin/nice"}}'
    run(sandbox, "--no-telemetry", "--", str(client), "--settings", own)
    passed = json.loads((sandbox.root / "settings").read_text())
    assert passed["model"] == "opus"
    assert passed["env"]["BETTER_CLAUDE_PREFIX"] == "/usr/bin/nice"
    assert "CLAUDE_CODE_ENABLE_TELEMETRY" not in passed["env"]


def test_run_chains_the_environments_prefix(sandbox: Sandbox, client: Path) -> None:
    run(sandbox, "--", str(client), CLAUDE_CODE_SHELL_PREFIX="/usr/bin/nice")
    passed = json.loads((sandbox.root / "settings").read_text())
    assert passed["env"]["BETTER_CLAUDE_PREFIX"] == "/usr/bin/nice"


def test_run_leaves_subcommands_their_arguments(sandbox: Sandbox, client: Path) -> None:
    assert run(sandbox, "--", str(client), "mcp", "list").stdout == "mcp\nlist\n"


def test_the_service_is_nobodys_child(sandbox: Sandbox, client: Path) -> None:
    run(sandbox, "--", str(client))
    pid = json.loads(sandbox.paths.service_info.read_text())["pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"PPid:\t{os.getpid()}\n" not in status


@pytest.mark.parametrize("folder", ["notes -old", "it's", "line\nbreak"])
def test_a_state_folder_that_the_client_could_not_call(
    sandbox: Sandbox, client: Path, folder: str
) -> None:
    state = str(sandbox.root / folder)
    done = run(sandbox, "--", str(client), BETTER_CLAUDE_STATE=state)
    assert done.returncode == 7
    assert "not measured" in done.stderr
    assert not Path(state).exists()


def test_a_broken_contract_or_state_never_stops_a_session(sandbox: Sandbox, client: Path) -> None:
    sandbox.paths.contract.parent.mkdir(parents=True)
    sandbox.paths.contract.write_text("nonsense")
    done = run(sandbox, "--", str(client))
    assert done.returncode == 7
    assert "not in force" in done.stderr
    sandbox.paths.contract.unlink()
    blocked = sandbox.root / "file"
    blocked.touch()
    done = run(sandbox, "--", str(client), BETTER_CLAUDE_STATE=str(blocked / "state"))
    assert done.returncode == 7
    assert "not measured" in done.stderr


def test_a_client_that_is_not_there(sandbox: Sandbox) -> None:
    done = run(sandbox, "--", "no-such-client")
    assert done.returncode == 2
    assert "[client-not-found]" in done.stderr


def test_another_contract_replaces_what_the_last_one_wrote(
    sandbox: Sandbox, settings: Path, call: Callable[..., Json]
) -> None:
    """Our own earlier values are no stricter wish of the user's."""
    call("install")
    sandbox.paths.contract.parent.mkdir(parents=True)
    sandbox.paths.contract.write_text("[context]\ncompress_from = 110000\n")
    assert call("install")["status"] == "installed"
    assert env_in(settings)["CLAUDE_AUTOCOMPACT_PCT_OVERRIDE"] == "84.61"
    assert call("uninstall")["status"] == "restored byte for byte"
    assert settings.read_text() == MINE


WRAPPER = "/usr/bin/nice"


def wrapped(path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"env": {"CLAUDE_CODE_SHELL_PREFIX": WRAPPER}})
    path.write_text(text)
    return text


@pytest.mark.parametrize("scope", ["project", "local"])
def test_a_prefix_of_a_wider_scope_is_chained(
    sandbox: Sandbox, call: Callable[..., Json], scope: str
) -> None:
    user = sandbox.home / ".claude/settings.json"
    before = wrapped(user)
    done = call("install", "--scope", scope)
    path = Path(done["path"])
    assert env_in(path)["BETTER_CLAUDE_PREFIX"] == WRAPPER
    assert f"CLAUDE_CODE_SHELL_PREFIX={WRAPPER} was in force" in " ".join(done["notes"])
    assert call("install", "--scope", scope)["status"] == "already installed"
    assert call("uninstall", "--scope", scope)["status"] == "restored byte for byte"
    assert not path.exists()
    assert user.read_text() == before


@pytest.mark.parametrize("scope", ["user", "project", "local"])
def test_the_environments_prefix_is_chained(
    call: Callable[..., Json], monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_SHELL_PREFIX", WRAPPER)
    assert (
        env_in(Path(call("install", "--scope", scope)["path"]))["BETTER_CLAUDE_PREFIX"] == WRAPPER
    )


def test_the_files_own_prefix_comes_before_a_wider_one(
    sandbox: Sandbox, call: Callable[..., Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_SHELL_PREFIX", "/from/the/environment")
    before = wrapped(sandbox.project / ".claude/settings.local.json")
    done = call("install", "--scope", "local")
    assert env_in(Path(done["path"]))["BETTER_CLAUDE_PREFIX"] == WRAPPER
    assert "was in force" not in " ".join(done["notes"])
    call("uninstall", "--scope", "local")
    assert Path(done["path"]).read_text() == before


def test_a_prefix_below_an_installation_of_ours_is_chained_too(
    sandbox: Sandbox, call: Callable[..., Json]
) -> None:
    """So that uninstalling the wider scope leaves the wrapper called."""
    wrapped(sandbox.home / ".claude/settings.json")
    call("install")
    path = Path(call("install", "--scope", "local")["path"])
    assert env_in(path)["BETTER_CLAUDE_PREFIX"] == WRAPPER
    assert json.loads(path.read_text())["autoCompactWindow"] == 150_000


def test_a_repositorys_prefix_is_chained_once_the_folder_is_trusted(
    sandbox: Sandbox, call: Callable[..., Json]
) -> None:
    wrapped(sandbox.project / ".claude/settings.json")
    done = call("install", "--scope", "local")
    assert "BETTER_CLAUDE_PREFIX" not in env_in(Path(done["path"]))
    assert "not trusted" in " ".join(done["notes"])
    accepted = {"projects": {str(sandbox.project): {"hasTrustDialogAccepted": True}}}
    (sandbox.home / ".claude.json").write_text(json.dumps(accepted))
    call("install", "--scope", "local")
    assert env_in(Path(done["path"]))["BETTER_CLAUDE_PREFIX"] == WRAPPER


def test_a_stricter_window_of_a_wider_scope_is_not_loosened(
    sandbox: Sandbox, settings: Path, call: Callable[..., Json]
) -> None:
    settings.write_text('{"autoCompactWindow": 110000}')
    path = Path(call("install", "--scope", "local")["path"])
    assert "autoCompactWindow" not in json.loads(path.read_text())


def test_a_prefix_that_wins_over_ours_is_named(sandbox: Sandbox, call: Callable[..., Json]) -> None:
    path = sandbox.project / ".claude/settings.local.json"
    wrapped(path)
    done = call("install")
    assert "BETTER_CLAUDE_PREFIX" not in env_in(Path(done["path"]))
    (note,) = [note for note in done["notes"] if str(path) in note]
    assert "ours will not be called" in note
    assert "--scope local" in note


def test_a_blank_file_is_installed_into_twice(settings: Path, call: Callable[..., Json]) -> None:
    settings.write_text("\n")
    call("install")
    assert call("install")["status"] == "already installed"
    assert call("uninstall")["status"] == "restored byte for byte"
    assert settings.read_text() == "\n"


def test_many_installs_at_once_are_one(sandbox: Sandbox, settings: Path) -> None:
    words = [sys.executable, "-P", "-m", "better_claude", "install", "--yes"]
    several = [
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=-1)
        for _ in range(4)
    ]
    errors = [one.communicate(timeout=30)[1].decode() for one in several]
    assert min(one.returncode for one in several) == 0
    assert all("[settings-changed]" in error for error in errors if error)
    assert main(["uninstall"]) == 0
    assert settings.read_text() == MINE


@pytest.mark.usefixtures("settings")
def test_what_settings_were_is_nobody_elses_business(
    sandbox: Sandbox, call: Callable[..., Json]
) -> None:
    sandbox.paths.installs.mkdir(mode=0o755, parents=True)
    call("install")
    (record,) = sandbox.paths.installs.iterdir()
    for folder in (sandbox.paths.installs, record):
        assert folder.stat().st_mode & 0o777 == 0o700
    call("uninstall")
    sandbox.paths.installs.rmdir()
    call("install")
    assert sandbox.paths.installs.stat().st_mode & 0o777 == 0o700
