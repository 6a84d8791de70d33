"""Play a short session through the real launcher, so that the first screen is never empty.

Nothing here is invented: small hooks really run, really hang and really leak, and what is shown of
them was measured. It is a sample all the same, and lives in a state folder of its own, `sample/`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from better_claude.act.policy import publish_policy
from better_claude.collect.spool import SpoolReader
from better_claude.contract import Contract, load_contract
from better_claude.launcher import install_launcher
from better_claude.paths import Paths
from better_claude.service.lock import turn
from better_claude.store.reader import open_reader
from better_claude.store.views import RunFilter
from better_claude.store.writer import Writer

SESSION = "5a3b1e00-0000-4000-8000-000000000000"
PROMPT = "5a3b1e00-0000-4000-8000-000000000001"
# Two at a time: the figures are to show the hooks, not the crowd.
_LANES = 2
_PATIENCE_S = 20.0

_GUARD = """\
import json, sys
if "rm -rf" in json.load(sys.stdin)["tool_input"].get("command", ""):
    print("guard: whole folders are not yours to delete", file=sys.stderr)
    sys.exit(2)
"""
_FORMAT = """\
#!/bin/sh
# Formats what was written: the larger, the longer.
read -r event
sleep "0.0$(( ${#event} % 7 + 1 ))"
"""
_CONTEXT = """\
import json, sys, time
prompt = json.load(sys.stdin)["prompt"]
notes = ["remember the tests"]
while "everything" in prompt and len(notes) < 400:
    notes.append("x" * (1 << 20))
    time.sleep(0.001)
print(notes[0])
"""
_INDEX = """\
#!/bin/sh
# Waits for a server that is not there.
read -r event
case $event in *last*) sleep 30 & wait ;; esac
sleep 0.04
"""
_NOTIFY = """\
#!/bin/sh
# Rings a bell and does not wait for it.
sleep 0.6 >/dev/null 2>&1 </dev/null &
"""
_SCRIPTS = {
    "guard.py": _GUARD,
    "format.sh": _FORMAT,
    "context.py": _CONTEXT,
    "index.sh": _INDEX,
    "notify.sh": _NOTIFY,
}
_FOLDER = '"$CLAUDE_PROJECT_DIR"/.claude/hooks/'
_COMMANDS = {
    name: f"python3 {_FOLDER}{name}" if name.endswith(".py") else f"{_FOLDER}{name}"
    for name in _SCRIPTS
}


@dataclass(frozen=True, slots=True)
class Step:
    """One process that the session starts: a hook with its event, or a tool with a command."""

    hook: str = ""
    event: Mapping[str, object] | None = None
    tool: str = ""


def _steps() -> list[Step]:
    steps = [Step("context.py", _event("UserPromptSubmit", prompt=f"step {n}")) for n in range(3)]
    steps.append(Step("context.py", _event("UserPromptSubmit", prompt="read everything")))
    for n in range(24):
        command = "rm -rf build" if n in (4, 9, 17) else "make " + "x" * n
        call = {"tool_use_id": f"toolu_{n:04}", "tool_input": {"command": command}}
        steps.append(Step("guard.py", _event("PreToolUse", tool_name="Bash", **call)))
        if not command.startswith("rm"):
            steps.append(Step(tool=f"sleep 0.0{n % 6 + 1}"))
            steps.append(Step("format.sh", _event("PostToolUse", tool_name="Bash", **call)))
    steps += [Step("index.sh", _event("Stop", note=note)) for note in ("first", "second", "last")]
    steps.append(Step("notify.sh", _event("Notification", message="done")))
    return steps


def _event(name: str, **members: object) -> dict[str, object]:
    return {"session_id": SESSION, "prompt_id": PROMPT, "hook_event_name": name, **members}


def is_played(sample: Paths) -> bool:
    """Tell whether the sample's state folder holds a whole sample session."""
    with open_reader(sample.store) as store:
        return bool(store.runs(RunFilter(), 1))


def play_sample(sample: Paths, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
    """Play the session into ``sample``'s state folder and return how many runs were recorded.

    Does nothing and returns 0 if it was played before. ``progress`` is told after each step. Raises
    LauncherError or StoreError if there is no launcher or no room.
    """
    for folder in (sample.state.parent, sample.state):
        # One by one: `parents` would make the outer one readable for others.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with turn(sample.state.parent / "sample.lock"):
        if is_played(sample):
            return 0
        shutil.rmtree(sample.state)
        _prepare(sample)
        _play(sample, progress)
        return _store(sample)


def _prepare(sample: Paths) -> None:
    sample.create()
    install_launcher(sample)
    publish_policy(sample, _without_service(load_contract()))
    hooks = sample.state / "project/.claude/hooks"
    hooks.mkdir(parents=True)
    for name, text in _SCRIPTS.items():
        (hooks / name).write_text(text, "utf-8")
        (hooks / name).chmod(0o700)


def _without_service(contract: Contract) -> Contract:
    """Return ``contract`` with no service on demand: nobody serves the sample's folder."""
    off = replace(contract.values["service.autostart"], parsed=False, text="false")
    return replace(contract, values={**contract.values, "service.autostart": off})


def _play(sample: Paths, progress: Callable[[int, int], None]) -> None:
    steps = _steps()
    with ThreadPoolExecutor(_LANES) as lanes:
        for done, _ in enumerate(lanes.map(lambda step: _run(sample, step), steps), 1):
            progress(done, len(steps))


def _run(sample: Paths, step: Step) -> None:
    """Start one process as the client does, and let it end."""
    command = _tool_command(step.tool) if step.tool else _COMMANDS[step.hook]
    launcher = str(sample.launcher)
    # A hook is started through a shell, a tool by the client itself (docs/explanation, prefix).
    argv = [launcher, command] if step.tool else ["/bin/sh", "-c", shlex.join([launcher, command])]
    subprocess.run(
        argv,
        input=b"" if step.tool else json.dumps(step.event).encode(),
        capture_output=True,
        cwd=sample.state / "project",
        env=_environment(sample, hook=not step.tool),
        start_new_session=True,
        timeout=_PATIENCE_S,
        check=False,
    )


def _tool_command(user_command: str) -> str:
    return (
        "source /dev/null/shell-snapshots/snapshot-bash-sample.sh 2>/dev/null || true"
        f" && eval {shlex.quote(user_command)} < /dev/null && pwd -P >| /dev/null"
    )


def _environment(sample: Paths, hook: bool) -> dict[str, str]:
    """Return what the client would give, and nothing of the user's own environment but HOME."""
    here = Path(sys.executable).parent
    own = {"CLAUDE_PROJECT_DIR": str(sample.state / "project")} if hook else {}
    return {
        "HOME": os.environ.get("HOME", "/"),
        "PATH": f"{here}:/usr/local/bin:/usr/bin:/bin",
        "SHELL": "/bin/bash",
        "BETTER_CLAUDE_STATE": str(sample.state),
        "CLAUDE_PID": str(os.getpid()),
        "CLAUDE_CODE_SESSION_ID": SESSION,
        **own,
    }


def _store(sample: Paths) -> int:
    runs = 0
    with Writer.open(sample.store) as writer:
        reader = SpoolReader(sample.spools, writer.spool_marks())
        more = True
        while more:
            batch = reader.read(time.time_ns())
            result = writer.commit(batch.records, batch.marks, batch.rejects)
            reader.accept(batch)
            runs += result.runs
            more = batch.more
    return runs
