"""A user's whole configuration: hooks of every scope, a plugin and an MCP server."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.messages_api import Text, ToolUse, Usage, bash
from tests.e2e.settings import (
    MCP_SERVER,
    handler,
    hooks,
    write_json,
    write_plugin,
    write_script,
)
from tests.sandbox import Sandbox

# Texts that may be seen by the model and by hooks, and must never be recorded.
PROMPT_SECRET = "marmalade-in-the-prompt"
INPUT_SECRET = "turnip-in-the-tool-input"
OUTPUT_SECRET = "rhubarb-in-the-tool-output"
ENVIRONMENT_SECRET = "gherkin-in-the-environment"
CONTEXT_SECRET = "parsnip-in-the-hook-output"
SECRETS = (PROMPT_SECRET, INPUT_SECRET, OUTPUT_SECRET, ENVIRONMENT_SECRET, CONTEXT_SECRET)

SERVER_ARGUMENTS = ["two words", "$HOME", "it's"]
PLUGIN_COMMAND = "${CLAUDE_PLUGIN_ROOT}/guard.sh"
STEPS = (
    bash(
        f"echo {INPUT_SECRET} >/dev/null; printf '%s%s\\n' rhubarb -in-the-tool-output",
        Usage(1000, 50, 300, 40),
    ),
    ToolUse("mcp__pinger__ping", {"note": INPUT_SECRET}, Usage(1200, 60, 400, 0)),
    Text("all done", Usage(1400, 70, 500, 7)),
)


@dataclass(frozen=True, slots=True)
class Household:
    """What was configured: the options that the client needs, and each hook's command by event."""

    options: tuple[str, ...]
    commands: dict[str, list[str]]
    server_command: str


def furnish(sandbox: Sandbox) -> Household:
    """Write hooks of all three scopes and a server into a sandbox."""
    user = sandbox.home / "hooks/user guard.sh"
    write_script(user, "#!/bin/sh\ncat >/dev/null\necho user saw it\n")
    speaker = write_script(
        sandbox.home / "hooks/speak.py",
        f"#!{sys.executable} -IS\n"
        "import json\n"
        "context = {'hookEventName': 'UserPromptSubmit',\n"
        f"           'additionalContext': '{CONTEXT_SECRET}'}}\n"
        "print(json.dumps({'systemMessage': 'spoken', 'hookSpecificOutput': context}))\n",
    )
    start = "echo welcome on $(uname -s)"
    write_json(
        sandbox.home / ".claude/settings.json",
        hooks(
            {
                "PreToolUse": [handler(f"'{user}'")],
                "UserPromptSubmit": [handler(str(speaker))],
                "SessionStart": [handler(start)],
                "SessionEnd": [handler("cat >/dev/null")],
            }
        ),
    )
    project = "test -n \"$CLAUDE_PROJECT_DIR\" && echo 'project hook' >&2; exit 1"
    write_json(
        sandbox.project / ".claude/settings.json",
        hooks({"PostToolUse": [handler(project)], "Stop": [handler("true")]}),
    )
    plugin = write_plugin(sandbox.root / "plugged", {"PreToolUse": [handler(PLUGIN_COMMAND)]})
    write_script(plugin / "guard.sh", "#!/bin/sh\ncat | wc -c\n")
    server = _server(sandbox)
    options = (
        *("--plugin-dir", str(plugin)),
        *("--mcp-config", str(sandbox.root / "mcp.json")),
        *("--allowedTools", "Bash", "mcp__pinger__ping"),
    )
    commands = {
        "PreToolUse": [f"'{user}'", PLUGIN_COMMAND],
        "PostToolUse": [project],
        "UserPromptSubmit": [str(speaker)],
        "SessionStart": [start],
        "SessionEnd": ["cat >/dev/null"],
        "Stop": ["true"],
    }
    return Household(options, commands, server)


def _server(sandbox: Sandbox) -> str:
    script: Path = write_script(sandbox.root / "server.py", MCP_SERVER)
    arguments = ["-IS", str(script), *SERVER_ARGUMENTS]
    write_json(
        sandbox.root / "mcp.json",
        {"mcpServers": {"pinger": {"command": sys.executable, "args": arguments}}},
    )
    return shlex.join([sys.executable, *arguments])
