"""Each finding of doctor, by the hook that earns it and one that does not."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox import Sandbox

from better_claude.claude.hooks.diagnosis import Finding, Setting, Severity, diagnose, start_of
from better_claude.claude.hooks.inventory import Hook, Inventory, take_inventory
from better_claude.claude.places import Places, Scope
from better_claude.contract import Limits, load_contract

Json = dict[str, Any]
Examine = Callable[..., list[Finding]]


@pytest.fixture
def places(sandbox: Sandbox) -> Places:
    found = Places.from_environment(sandbox.project, sandbox.environ())
    return replace(found, managed=sandbox.root / "etc")


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def limits_of(hook: Hook) -> Limits:
    return load_contract().hook_limits(hook.event, hook.key, "", hook.text)


@pytest.fixture
def examine(places: Places) -> Examine:
    """Return a function that writes one hook into the user's settings and diagnoses it."""

    def one(
        handler: Any, event: str = "PreToolUse", matcher: Any = None, starts: Any = None
    ) -> list[Finding]:
        group = {"hooks": [handler]} | ({} if matcher is None else {"matcher": matcher})
        write(places.settings(Scope.USER), {"hooks": {event: [group]}})
        found = diagnose(take_inventory(places), Setting(places, limits_of, starts or {}))
        return [finding for finding in found if finding.code != "timeout-missing"]

    return one


BACKGROUND = {"async": True}


def shell(command: str = "true", more: Json | None = None, **fields: Any) -> Json:
    return {"type": "command", "command": command, **fields, **(more or {})}


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    assert all(finding.message and finding.remedy for finding in findings)
    return [(str(finding.severity), finding.code) for finding in findings]


@pytest.mark.parametrize(
    ("handler", "event", "matcher", "expected"),
    [
        (shell(timeout=2), "PreToolUse", "Bash", []),
        (shell(timeout=5000), "PreToolUse", "", [("error", "timeout-milliseconds")]),
        (shell(timeout=999), "SessionStart", "", [("info", "timeout-above-limit")]),
        (shell(timeout=3), "PreToolUse", "", [("info", "timeout-above-limit")]),
        (shell(more=BACKGROUND, timeout=300), "PreToolUse", "", []),
        (shell(args=["a"]), "PreToolUse", "", [("warning", "exec-form")]),
        (shell(args=[]), "PreToolUse", "", [("warning", "exec-form")]),
        (shell(shell="powershell"), "PreToolUse", "", [("warning", "powershell")]),
        (shell(shell="bash"), "PreToolUse", "", []),
        ({"type": "http", "url": "http://x"}, "PreToolUse", "", [("info", "not-a-process")]),
        ({"type": "prompt", "prompt": "ok?"}, "Stop", "", [("info", "not-a-process")]),
        (shell(), "pretooluse", "", [("error", "event-unknown")]),
        (shell(), "PreTool", "", [("error", "event-unknown")]),
        (shell(), "SomethingNew", "", [("warning", "event-unknown")]),
        (shell(), "PreToolUse", "(Bash", [("error", "matcher-broken")]),
        (shell(), "PreToolUse", "*Bash", [("error", "matcher-broken")]),
        (shell(), "PreToolUse", "mcp__.*", []),
        (shell(), "PreToolUse", "*", []),
        (shell(), "PreToolUse", "bash", [("error", "matcher-case")]),
        (shell(), "PreToolUse", "Edit|write", [("error", "matcher-case")]),
        (shell(), "PreToolUse", "Edit, Write", []),
        (shell(), "Stop", "Bash", [("info", "matcher-without-effect")]),
        (shell("no-such-program-x"), "Stop", "", [("warning", "program-not-found")]),
        (shell("python3 -c 'print(1)' x.py"), "Stop", "", []),
        (shell("python3 -W ignore /nowhere/x.py"), "Stop", "", [("error", "script-missing")]),
        (shell("node /nowhere/x.js | cat"), "Stop", "", [("error", "script-missing")]),
        (shell("/nowhere/x.sh"), "Stop", "", [("error", "script-missing")]),
        (shell("A=1 exec /nowhere/x.sh"), "Stop", "", [("error", "script-missing")]),
        (shell("[ -x /nowhere/x ] && /nowhere/x"), "Stop", "", []),
        (shell("/nowhere/x || true"), "Stop", "", []),
        (shell("cd /nowhere && ./x.sh"), "Stop", "", []),
        (shell('"$SOMEWHERE"/x.sh'), "Stop", "", []),
        (shell("~/x.sh"), "Stop", "", [("error", "script-missing")]),
        (shell("/usr"), "Stop", "", [("error", "script-missing")]),
        (
            shell("/nowhere/x", args=["y"]),
            "Stop",
            "",
            [("warning", "exec-form"), ("error", "script-missing")],
        ),
    ],
)
def test_one_hook(
    examine: Examine, handler: Json, event: str, matcher: str, expected: list[tuple[str, str]]
) -> None:
    assert told(examine(handler, event, matcher)) == expected


@pytest.mark.parametrize(
    ("handler", "what"),
    [
        (shell(timeout="5"), 'timeout is "5"'),
        (shell(timeout=0), "timeout is 0"),
        (shell(timeout=True), "timeout is true"),
        (shell(args="x"), "args"),
        ({"type": "command"}, "no command"),
        ({"type": "shell", "command": "x"}, "type is"),
        ("true", "is not an object"),
    ],
)
def test_an_entry_that_the_client_cannot_load(examine: Examine, handler: Any, what: str) -> None:
    (finding,) = examine(handler)
    assert (finding.severity, finding.code) == (Severity.ERROR, "hook-malformed")
    assert what in finding.message
    assert "whole file" in finding.message
    (finding,) = examine(handler, "Stop")
    assert "this entry" in finding.message


def test_a_matcher_that_is_no_text(examine: Examine) -> None:
    assert told(examine(shell(), matcher=5)) == [("error", "hook-malformed")]


def test_no_timeout_is_a_hint(places: Places) -> None:
    write(places.settings(Scope.USER), {"hooks": {"Stop": [{"hooks": [shell()]}]}})
    (finding,) = diagnose(take_inventory(places), Setting(places, limits_of, {}))
    assert (finding.severity, finding.code) == (Severity.INFO, "timeout-missing")
    assert "500 ms" in finding.remedy


def test_scripts_are_found_by_every_way_of_naming_them(places: Places, examine: Examine) -> None:
    script = write(places.project / "my hooks/x.sh", "#!/bin/sh\n")
    script.chmod(0o755)
    for command in (
        f"'{script}'",
        '"$CLAUDE_PROJECT_DIR"/"my hooks/x.sh"',
        '"${CLAUDE_PROJECT_DIR}/my hooks/x.sh" --flag',
        "'my hooks/x.sh'",
        "bash 'my hooks/x.sh'",
    ):
        assert told(examine(shell(command), "Stop")) == [], command
    script.chmod(0o644)
    assert told(examine(shell("'./my hooks/x.sh'"), "Stop")) == [("error", "script-not-executable")]
    assert told(examine(shell("sh './my hooks/x.sh'"), "Stop")) == []


def test_what_others_may_write(places: Places, examine: Examine) -> None:
    script = write(places.home / "x.sh", "#!/bin/sh\n")
    script.chmod(0o757)
    assert told(examine(shell("~/x.sh"), "Stop")) == [("warning", "writable-by-others")]


@pytest.mark.parametrize(
    ("cost_ms", "expected"),
    [
        (240, []),
        (260, [("warning", "interpreter-slow")]),
        (510, [("error", "interpreter-too-slow")]),
    ],
)
def test_an_interpreter_that_eats_the_limit(
    examine: Examine, cost_ms: int, expected: list[tuple[str, str]]
) -> None:
    starts = {"python": cost_ms * 1_000_000}
    assert told(examine(shell("python3 -c 1"), "Stop", starts=starts)) == expected
    assert told(examine(shell("sh -c 1"), "Stop", starts=starts)) == []
    background = shell("python3 -c 1", BACKGROUND)
    assert told(examine(background, "Stop", starts=starts)) == []


def test_duplicates_are_named_once(places: Places) -> None:
    hooks = {"hooks": {"Stop": [{"hooks": [shell(timeout=0.1)]}]}}
    write(places.settings(Scope.USER), hooks)
    write(places.settings(Scope.LOCAL), hooks)
    found = diagnose(take_inventory(places), Setting(places, limits_of, {}))
    assert told(found) == [("warning", "duplicate")]
    assert "settings.json" in found[0].message
    assert "settings.local.json" in found[0].message


def test_files_that_switch_hooks_off(places: Places) -> None:
    write(places.settings(Scope.PROJECT), {"disableAllHooks": True})
    write(places.settings(Scope.LOCAL), "{not json")
    write(places.managed / "managed-settings.json", {"allowManagedHooksOnly": True})
    found = diagnose(take_inventory(places), Setting(places, limits_of, {}))
    assert sorted(told(found)) == [
        ("error", "file-unusable"),
        ("info", "managed-hooks-only"),
        ("warning", "hooks-disabled"),
    ]


def hooks_for(command: str) -> Json:
    return {"hooks": {"Stop": [{"hooks": [shell(command)]}]}}


def commands(inventory: Inventory) -> set[tuple[str, str]]:
    return {(hook.origin, hook.command) for hook in inventory.hooks}


def test_the_inventory_knows_every_origin(places: Places) -> None:
    for scope in Scope:
        write(places.settings(scope), hooks_for(scope.value))
    write(places.managed / "managed-settings.json", hooks_for("managed"))
    agent = 'hooks:\n  PreToolUse:\n    - matcher: "Bash"\n      hooks:\n'
    agent += "        - type: command\n          command: './agent.sh'\n"
    write(places.project / ".claude/agents/a.md", f"---\nname: a\n{agent}model: x\n---\ntext\n")
    write(places.config / "skills/s/SKILL.md", f"---\n{agent}---\n")
    write(places.config / "skills/t/SKILL.md", "no front matter\nhooks:\n  Stop:\n")
    inventory = take_inventory(places)
    assert commands(inventory) == {
        *((name, name) for name in ("user", "project", "local", "managed")),
        ("agent", "./agent.sh"),
        ("skill", "./agent.sh"),
    }
    agent_hook = next(hook for hook in inventory.hooks if hook.origin == "agent")
    assert (agent_hook.event, agent_hook.matcher) == ("PreToolUse", "Bash")


def install_plugin(places: Places, name: str, root: Path, **entry: str) -> None:
    path = places.config / "plugins/installed_plugins.json"
    known: Json = json.loads(path.read_text()) if path.exists() else {"plugins": {}}
    known["plugins"][name] = [{"scope": "user", "installPath": str(root), **entry}]
    write(path, known)


def test_plugins(places: Places) -> None:
    root = places.config / "plugins/cache/m"
    for name in ("on", "off", "elsewhere", "unknown"):
        write(root / name / "hooks/hooks.json", hooks_for(name))
    install_plugin(places, "on@m", root / "on")
    install_plugin(places, "off@m", root / "off")
    install_plugin(places, "elsewhere@m", root / "elsewhere", projectPath="/somewhere/else")
    more = {"hooks": ["./more.json", "../off/hooks/hooks.json", "hooks/hooks.json"]}
    write(root / "on/.claude-plugin/plugin.json", more)
    write(root / "on/more.json", hooks_for("more"))
    switched = {"on@m": True, "off@m": True, "elsewhere@m": True, "unknown@m": True}
    write(places.settings(Scope.USER), {"enabledPlugins": switched})
    write(places.settings(Scope.LOCAL), {"enabledPlugins": {"off@m": False}})
    inventory = take_inventory(places)
    assert commands(inventory) == {("plugin", "on"), ("plugin", "more")}
    assert {hook.root for hook in inventory.hooks} == {str(root / "on")}


def test_a_plugin_of_a_folder_is_read_where_it_is_written(places: Places) -> None:
    market = places.home / "market"
    write(
        market / ".claude-plugin/marketplace.json",
        {"plugins": [{"name": "p", "source": "./plugins/p"}]},
    )
    hooks = {"hooks": {"Stop": [{"hooks": [shell("inline")]}]}}
    write(market / "plugins/p/.claude-plugin/plugin.json", hooks)
    known = {"m": {"source": {"source": "directory"}, "installLocation": str(market)}}
    write(places.config / "plugins/known_marketplaces.json", known)
    install_plugin(places, "p@m", places.home / "cache")
    write(places.settings(Scope.USER), {"enabledPlugins": {"p@m": True}})
    (hook,) = take_inventory(places).hooks
    assert (hook.command, hook.root) == ("inline", str(market / "plugins/p"))


def test_a_plugins_script_is_found_by_its_root(places: Places) -> None:
    root = places.home / "p"
    write(root / "hooks/hooks.json", hooks_for("${CLAUDE_PLUGIN_ROOT}/gone.sh"))
    install_plugin(places, "p@m", root)
    write(places.settings(Scope.USER), {"enabledPlugins": {"p@m": True}})
    found = diagnose(take_inventory(places), Setting(places, limits_of, {}))
    assert ("error", "script-missing") in told(found)
    assert any(str(root / "gone.sh") in finding.message for finding in found)


@pytest.mark.parametrize("timeout", ["1e999", "1" + "0" * 400, "1e300"])
def test_a_timeout_beyond_all_bounds_is_one_more_finding(places: Places, timeout: str) -> None:
    handler = f'{{"type": "command", "command": "true", "timeout": {timeout}}}'
    text = f'{{"hooks": {{"Stop": [{{"hooks": [{handler}]}}]}}}}'
    write(places.settings(Scope.USER), text)
    found = diagnose(take_inventory(places), Setting(places, limits_of, {}))
    assert told(found) == [("error", "timeout-milliseconds")]


def test_a_nul_is_no_path(examine: Examine) -> None:
    assert told(examine(shell("/a\0b", timeout=1))) == [("error", "script-missing")]


def test_a_pipe_among_agents_is_passed_over(places: Places) -> None:
    """A repository could hold one, and whoever reads it would wait forever."""
    folder = places.project / ".claude/agents"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "a.md")
    assert take_inventory(places).hooks == ()


@pytest.mark.parametrize("given", ["./a\0b", "./loop.json", "../../out.json"])
def test_a_plugins_impossible_paths_are_passed_over(places: Places, given: str) -> None:
    root = places.project / "plugin"
    write(root / ".claude-plugin/plugin.json", {"hooks": [given]})
    (root / "loop.json").symlink_to(root / "loop.json")
    entries = {"p@m": [{"installPath": str(root)}], "q@m": [{"installPath": "/a\0b"}]}
    write(places.config / "plugins/installed_plugins.json", {"plugins": entries})
    write(places.settings(Scope.USER), {"enabledPlugins": {"p@m": True, "q@m": True}})
    found = take_inventory(places)
    assert (found.hooks, found.flaws) == ((), ())


def test_a_command_of_a_megabyte_is_read_at_once(places: Places) -> None:
    started = time.process_time()
    assert start_of(take(places, "a" * (1 << 20)), places).interpreter == ""
    assert time.process_time() - started < 1


def take(places: Places, command: str) -> Hook:
    return Hook("user", "", "Stop", "", "command", command, ())
