"""`better-claude install`: put every session of a settings file under the contract."""

import argparse
import sys
import time
from pathlib import Path

import msgspec

from better_claude import __version__
from better_claude.act.policy import publish_policy, replace_file
from better_claude.claude.hooks.inventory import take_inventory
from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.file import (
    check_unchanged,
    write_settings,
)
from better_claude.claude.settings.installation import (
    Installation,
    StoredInstallation,
    is_empty,
    load,
    save,
    values,
)
from better_claude.claude.settings.telemetry import Receiver
from better_claude.commands.asking import agrees
from better_claude.commands.forecast import forecast, tell_forecast
from better_claude.commands.groundwork import (
    check_launcher_path,
    lay_ground,
    receiver_of,
    remember_forward,
    terms_of,
)
from better_claude.commands.install_plan import Plan, make_plan
from better_claude.contract import Contract, load_contract
from better_claude.errors import BetterClaudeError, ContractError, SettingsError
from better_claude.model import Enforcement
from better_claude.paths import Paths
from better_claude.service.lock import turn
from better_claude.service.start import start_service
from better_claude.show.jsonl import json_line
from better_claude.show.text import clean

# Stands for the port and token that a dry run does not choose.
_PLACEHOLDER = Receiver(0, "<token>")


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add scope, mode and the ways to look first."""
    parser.description = (
        "Put every session of a settings file under the contract: the launcher's prefix, telemetry"
        " to our receiver, and the context window. What you had is kept; a diff is shown first;"
        " `better-claude uninstall` gives back the file byte for byte."
    )
    parser.epilog = """examples:
  better-claude install --dry-run
  better-claude install --mode observe
  better-claude install --scope local --yes"""
    add_scope_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="show the diff and stop")
    parser.add_argument(
        "--mode",
        type=Enforcement,
        choices=list(Enforcement),
        metavar="MODE",
        help="enforce or observe: written into your contract, for all hooks",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")


def add_scope_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--scope``."""
    parser.add_argument(
        "--scope",
        type=Scope,
        choices=list(Scope),
        default=Scope.USER,
        metavar="SCOPE",
        help="user (all your sessions, the default), project (shared with the team) or local",
    )


def run(args: argparse.Namespace) -> int:
    """Plan, show, ask, write."""
    paths = Paths.from_environment()
    places = Places.from_environment()
    check_launcher_path(paths)
    contract = load_contract(user=paths.contract)
    receiver = _receiver(paths, args.scope, args.dry_run)
    plan = make_plan(paths, places, args.scope, terms_of(paths, contract, receiver))
    told = not args.json
    if told:
        _tell_plan(plan, paths, places, args.mode or contract.enforcement, contract)
    if args.dry_run:
        return _end(plan, "planned", args)
    if not plan.is_installed and not args.yes and not _agrees():
        return _end(plan, "declined", args)
    if args.mode is not None and args.mode is not contract.enforcement:
        contract = _write_mode(paths, args.mode)
        if told:
            print(f"mode = {args.mode}: written to {paths.contract}")
    lay_ground(paths, contract)
    if not plan.is_installed:
        with turn(paths.state / "install.lock"):
            _write(paths, plan)
    problem = _start(paths)
    if problem and told:
        print(f"better-claude: {problem}", file=sys.stderr)
    return _end(plan, "already installed" if plan.is_installed else "installed", args)


def _receiver(paths: Paths, scope: Scope, is_dry: bool) -> Receiver | None:
    # Seen: the client ignores telemetry variables of a project's settings, local ones included.
    if scope is not Scope.USER:
        return None
    if is_dry and not (paths.port.exists() and paths.token.exists()):
        return _PLACEHOLDER
    try:
        paths.create()
        return receiver_of(paths)
    except OSError as error:
        raise SettingsError(
            "state-folder",
            f"the state folder {paths.state} cannot be used: {error.strerror or error}",
            "Give it to yourself, make room, or name another one in BETTER_CLAUDE_STATE.",
        ) from error


def _tell_plan(
    plan: Plan, paths: Paths, places: Places, mode: Enforcement, contract: Contract
) -> None:
    if plan.is_installed:
        print(f"already installed: {plan.file.path}")
        return
    print(*plan.diff(), sep="\n")
    print()
    for note in plan.notes:
        print(f"note: {clean(note)}")
    if plan.overlay.forward:
        print(f"note: your telemetry keeps being fed: {', '.join(plan.overlay.forward)}")
    hooks = [hook.command for hook in take_inventory(places).hooks if not hook.escape]
    for line in tell_forecast(forecast(paths, contract), hooks, paths):
        print(clean(line))
    if mode is Enforcement.OBSERVE:
        print("mode = observe: limits are recorded, nothing is stopped.")
    sys.stdout.flush()


def _agrees() -> bool:
    """Ask where there is somebody to ask; a script that calls us has decided already."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    return agrees("Write this?")


def _write(paths: Paths, plan: Plan) -> None:
    content = plan.text.encode("utf-8")
    existed = plan.file.content is not None
    original = plan.base.encode("utf-8") if existed else None
    if existed and not (plan.file.content or b"").strip():
        original = plan.file.content
    earlier = load(paths.installs, plan.file.path)
    was_ours = earlier is not None and earlier.record.created
    created = not existed or (was_ours and is_empty(plan.base))
    folder = plan.file.target.parent
    record = Installation(
        path=str(plan.file.path),
        scope=plan.scope,
        version=__version__,
        installed_ns=time.time_ns(),
        changes=plan.changes,
        created=created,
        made_folder=not folder.exists() or _made(paths, plan.file.path.parent),
        feeds=bool(plan.overlay.forward),
    )
    written = plan.unwrapped.encode("utf-8")
    # Nobody's record is replaced by one of a file that is not written: two may install at once.
    check_unchanged(plan.file)
    save(paths.installs, StoredInstallation(record, None if created else original, written))
    write_settings(plan.file, content)
    if plan.scope is Scope.USER:
        forward = msgspec.json.encode(plan.overlay.forward) if plan.overlay.forward else None
        remember_forward(paths.state / "forward.json", forward)


def _made(paths: Paths, folder: Path) -> bool:
    """Tell whether an installation into ``folder`` made it: whoever leaves last removes it."""
    known = (load(paths.installs, folder / f"settings{part}.json") for part in ("", ".local"))
    return any(stored.record.made_folder for stored in known if stored is not None)


def _write_mode(paths: Paths, mode: Enforcement) -> Contract:
    """Write ``mode`` into the user's contract, keep all else there, and publish it."""
    import tomlkit

    try:
        text = paths.contract.read_text("utf-8") if paths.contract.exists() else ""
        document = tomlkit.parse(text)
        document["mode"] = str(mode)
        paths.contract.parent.mkdir(parents=True, exist_ok=True)
        replace_file(paths.contract.resolve(), tomlkit.dumps(document).encode("utf-8"))
    except OSError as error:
        raise ContractError(
            "contract-unwritable",
            f"{paths.contract} cannot be written: {error.strerror}",
            f'Write it there yourself: mode = "{mode}"',
        ) from error
    contract = load_contract(user=paths.contract)
    paths.create()
    publish_policy(paths, contract)
    return contract


def _start(paths: Paths) -> str:
    try:
        start_service(paths)
    except BetterClaudeError as error:
        return f"{error.message} (the first session tries again)"
    return ""


def _end(plan: Plan, status: str, args: argparse.Namespace) -> int:
    if args.json:
        record = {
            "kind": "installation",
            "status": status,
            "scope": str(plan.scope),
            "path": str(plan.file.path),
            "changes": values(plan.changes),
            "notes": list(plan.notes),
            "diff": "\n".join(plan.diff()),
        }
        line = json_line(record)
        print(line.replace(plan.token, "********") if plan.token else line)
    elif status == "installed":
        print(f"installed: {plan.file.path}")
        print(
            "Sessions that run already are not affected. Undo: better-claude uninstall"
            + (f" --scope {plan.scope}" if plan.scope is not Scope.USER else "")
        )
    elif status == "declined":
        print("nothing was written")
    return 1 if status == "declined" else 0
