"""`better-claude run -- claude …`: one Claude Code process under the contract."""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from better_claude.act.policy import replace_file
from better_claude.claude.invocation import Invocation
from better_claude.claude.places import Places
from better_claude.claude.settings.file import environment_of
from better_claude.claude.settings.in_force import (
    InForce,
    is_trusted,
    merge_settings,
    settings_in_force,
)
from better_claude.claude.settings.overlay import Overlay, overlay
from better_claude.commands.groundwork import (
    contract_or_built_in,
    lay_ground,
    receiver_of,
    remember_forward,
    start_detached,
    terms_of,
)
from better_claude.errors import BetterClaudeError, UsageError
from better_claude.model import Enforcement, fnv1a64
from better_claude.paths import Paths
from better_claude.show.text import clean

_KEEP_DOCUMENTS_S = 30 * 86_400


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the command line to run."""
    parser.description = (
        "Run one Claude Code process under the contract. Nothing is installed and nothing outside"
        " our own state folder is changed: launcher, telemetry and context settings go in by"
        " environment and --settings. Signals, terminal and exit status are the client's own."
    )
    parser.epilog = """examples:
  better-claude run -- claude
  better-claude run -- claude -p "say hello" --output-format json
  better-claude run --mode observe -- claude --continue"""
    parser.add_argument(
        "--mode",
        type=Enforcement,
        choices=list(Enforcement),
        metavar="MODE",
        help="enforce or observe, for this process only (default: as the contract says)",
    )
    parser.add_argument(
        "--no-telemetry",
        action="store_true",
        help="leave the client's telemetry alone: no API calls and tokens in our store",
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="-- claude …", help="default: claude"
    )


def run(args: argparse.Namespace) -> int:
    """Become the client; returns only by raising."""
    words = args.command[1:] if args.command[:1] == ["--"] else args.command
    call = Invocation.of(words)
    program = _find(call.program)
    environ = dict(os.environ)
    try:
        call, environ = _under_contract(call, args)
    except (BetterClaudeError, OSError) as error:
        # Never the reason that a session does not start.
        say(f"this session is not measured: {error}")
    _become(program, call, environ)


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise UsageError(
            "client-not-found",
            f"there is no program {program!r}",
            "Install Claude Code, or name it: better-claude run -- /path/to/claude",
        )
    return found


def _under_contract(
    call: Invocation, args: argparse.Namespace
) -> tuple[Invocation, dict[str, str]]:
    paths = Paths.from_environment()
    contract, problem = contract_or_built_in(paths)
    lay_ground(paths, contract)
    own, readable = _own_settings(call)
    before = _in_force(call, own)
    wants_telemetry = not args.no_telemetry and not before.manages_telemetry
    terms = terms_of(paths, contract, receiver_of(paths) if wants_telemetry else None)
    ours = overlay(before.settings, terms, os.environ)
    mode = {"BETTER_CLAUDE_MODE": str(args.mode)} if args.mode else {}
    settings = merge_settings(ours.as_settings(), {"env": mode})
    if call.takes_settings and readable:
        call = call.with_settings(_document(paths, merge_settings(own, settings)))
    _feed(paths, ours, terms.receiver is not None)
    for line in (problem, *before.notes, *ours.notes, *_managed(before), start_detached(paths)):
        if line:
            say(line)
    return call, {**os.environ, **environment_of(settings)}


def _own_settings(call: Invocation) -> tuple[dict[str, Any], bool]:
    """Return what the user passes with ``--settings``, and whether we could read it."""
    try:
        return call.own_settings(Path.cwd()), True
    except (OSError, ValueError) as error:
        say(f"your --settings cannot be read ({error}); ours go in by the environment only")
        return {}, False


def _in_force(call: Invocation, own: Mapping[str, Any]) -> InForce:
    places = Places.from_environment()
    trusted = call.is_print or not sys.stdout.isatty() or is_trusted(places)
    found = settings_in_force(places, call.sources, os.environ, folder_is_trusted=trusted)
    return InForce(merge_settings(found.settings, own), found.managed, found.notes)


def _managed(before: InForce) -> tuple[str, ...]:
    prefix = (
        "an administrator has set CLAUDE_CODE_SHELL_PREFIX: nothing of this session is measured"
    )
    telemetry = "an administrator has decided where telemetry goes: API calls are not in our store"
    return (
        prefix if before.manages_prefix else "",
        telemetry if before.manages_telemetry else "",
    )


def _document(paths: Paths, settings: Mapping[str, Any]) -> Path:
    """Write the settings where only the user reads them: arguments are visible to everybody.

    The name is the content's, so that a thousand like sessions leave one file.
    """
    content = json.dumps(settings, ensure_ascii=False).encode("utf-8", "surrogatepass")
    folder = paths.state / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"settings-{fnv1a64(content):016x}.json"
    if path.exists() and path.read_bytes() == content:
        os.utime(path)
    else:
        replace_file(path, content)
    _remove_old(folder)
    return path


def _remove_old(folder: Path) -> None:
    oldest = time.time() - _KEEP_DOCUMENTS_S
    with suppress(OSError):
        for path in folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()


def _feed(paths: Paths, ours: Overlay, is_routed: bool) -> None:
    """Have the service feed the user's own destination, or no longer if there is none.

    An installation has its own destination, which stays as long as it is installed.
    """
    if not is_routed:
        return
    path = paths.state / "forward.json"
    if ours.forward:
        remember_forward(path, msgspec.json.encode(ours.forward))
    elif not (paths.installs.is_dir() and any(paths.installs.iterdir())):
        remember_forward(path, None)


def _become(program: str, call: Invocation, environ: Mapping[str, str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, [call.program, *call.arguments], environ)
    except OSError as error:
        raise UsageError(
            "client-not-found",
            f"{program} cannot be started: {error.strerror}",
            "Name the client: better-claude run -- /path/to/claude",
        ) from error


def say(line: str) -> None:
    """Tell one thing on standard error."""
    print(f"better-claude: {clean(line)}", file=sys.stderr)
