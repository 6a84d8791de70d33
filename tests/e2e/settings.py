"""Write what a user, a project and a plugin would have configured."""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def handler(command: str, **fields: object) -> Json:
    """Return one shell-form hook handler."""
    return {"type": "command", "command": command, **fields}


def hooks(events: dict[str, list[Json]], matcher: str = "") -> Json:
    """Return a settings document with these handlers, one group an event."""
    return {
        "hooks": {
            event: [{"matcher": matcher, "hooks": handlers}] for event, handlers in events.items()
        }
    }


def write_json(path: Path, document: Json) -> Path:
    """Write ``document`` where the client looks for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2), "utf-8")
    return path


def write_script(path: Path, text: str) -> Path:
    """Write an executable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def write_plugin(folder: Path, events: dict[str, list[Json]]) -> Path:
    """Write a plugin with hooks, as ``--plugin-dir`` loads it."""
    write_json(
        folder / ".claude-plugin/plugin.json",
        {"name": folder.name, "version": "1.0.0", "description": "hooks of a plugin"},
    )
    write_json(folder / "hooks/hooks.json", hooks(events))
    return folder


# A whole MCP server over stdio with one tool, `ping`, which answers with its own arguments.
MCP_SERVER = """
import json, sys

for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if "id" not in message:
        continue
    if method == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "pinger", "version": "1"},
        }
    elif method == "tools/list":
        schema = {"type": "object"}
        result = {"tools": [{"name": "ping", "description": "ping", "inputSchema": schema}]}
    elif method == "tools/call":
        result = {"content": [{"type": "text", "text": "pong " + json.dumps(sys.argv[1:])}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
