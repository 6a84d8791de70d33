"""`better-claude uninstall`: restore what install changed."""

import argparse
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.exec_form import unwrap
from better_claude.claude.settings.file import (
    SettingsFile,
    read_settings,
    remove_settings,
    write_settings,
)
from better_claude.claude.settings.installation import (
    Change,
    StoredInstallation,
    forget,
    is_empty,
    load,
    load_all,
    take_out,
    values,
)
from better_claude.claude.settings.overlay import ContextTerms
from better_claude.claude.settings.traces import find_traces
from better_claude.commands.asking import agrees
from better_claude.commands.install import add_scope_option
from better_claude.contract.load import built_in_contract
from better_claude.errors import BetterClaudeError, UsageError
from better_claude.paths import Paths
from better_claude.service.start import stop_service
from better_claude.show.jsonl import json_line


@dataclass(frozen=True, slots=True)
class Target:
    """A settings file from which to take our members, and the folders it may lie in."""

    path: Path
    scope: Scope
    roots: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of one settings file; ``edited`` are members that somebody changed since."""

    target: Target
    status: str
    edited: tuple[Change, ...] = ()


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add scope and purge."""
    parser.description = (
        "Restore a settings file: byte for byte if nobody changed it since, else by removing what"
        " is ours and keeping every later edit. The launcher stays in the state folder, so that"
        " sessions that run now go on."
    )
    parser.epilog = """examples:
  better-claude uninstall
  better-claude uninstall --scope project
  better-claude uninstall --all --purge"""
    add_scope_option(parser)
    parser.add_argument("--all", action="store_true", help="every file that install ever changed")
    parser.add_argument(
        "--purge", action="store_true", help="stop the service and remove the state folder as well"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before --purge")
    parser.add_argument("--json", action="store_true", help="JSON Lines, one object a file")


def run(args: argparse.Namespace) -> int:
    """Restore the files that are meant, then purge if asked to."""
    paths = Paths.from_environment()
    places = Places.from_environment()
    status = 0
    for target in _targets(args, paths, places):
        try:
            _tell(restore(paths, target), args.json)
        except BetterClaudeError as error:
            if not args.all:
                raise
            print(f"better-claude: {error.message}  [{error.slug}]", file=sys.stderr)
            status = 1
    if args.purge and status == 0:
        _purge(paths, args.yes)
    elif not args.json:
        _tell_what_stays(paths)
    return status


def restore(paths: Paths, target: Target) -> Restored:
    """Take our members out of one settings file; does nothing where there are none.

    Raises SettingsError for a file that cannot be changed safely.
    """
    file = read_settings(target.path, target.roots)
    stored = load(paths.installs, target.path)
    # An exec-form hook that begins with our launcher (`doctor --fix`) is ours to undo as well.
    plain = unwrap(file.text, paths.launcher)
    if stored is None:
        traces = find_traces(plain, file.data, paths.launcher, _built_in_context())
        if not traces and plain == file.text:
            return Restored(target, "not installed")
        text, edited = take_out(plain, traces)
        write_settings(file, text.encode("utf-8"))
        return Restored(target, "restored by key", edited)
    restored = _restore_stored(file, plain, stored, target)
    if target.scope is Scope.USER and stored.record.feeds:
        (paths.state / "forward.json").unlink(missing_ok=True)
    forget(paths.installs, target.path)
    return restored


def _restore_stored(
    file: SettingsFile, plain: str, stored: StoredInstallation, target: Target
) -> Restored:
    if file.content == stored.original or file.content is None:
        return Restored(target, "restored already")
    if plain.encode("utf-8") == stored.written:
        if stored.original is None:
            _remove(file, stored)
        else:
            write_settings(file, stored.original)
        return Restored(target, "restored byte for byte")
    text, edited = take_out(plain, stored.record.changes)
    if stored.record.created and is_empty(text):
        _remove(file, stored)
    elif text != file.text:
        write_settings(file, text.encode("utf-8"))
    return Restored(target, "restored by key", edited)


def _remove(file: SettingsFile, stored: StoredInstallation) -> None:
    remove_settings(file)
    if stored.record.made_folder:
        with suppress(OSError):
            file.target.parent.rmdir()


def _targets(args: argparse.Namespace, paths: Paths, places: Places) -> Iterable[Target]:
    chosen = list(Scope) if args.all else [args.scope]
    targets = [Target(places.settings(scope), scope, places.roots(scope)) for scope in chosen]
    if args.all:
        known = {target.path for target in targets}
        for stored in load_all(paths.installs):
            path, scope = Path(stored.record.path), stored.record.scope
            if path not in known:
                project = path.parent.parent
                roots = places.roots(scope) if scope is Scope.USER else (project,)
                targets.append(Target(path, scope, (*roots, path.parent)))
    return targets


def _built_in_context() -> ContextTerms:
    contract = built_in_contract()
    return ContextTerms(
        contract.number("context.maximum"), contract.number("context.compress_from")
    )


def _tell(restored: Restored, as_json: bool) -> None:
    path = str(restored.target.path)
    if as_json:
        record = {
            "kind": "installation",
            "status": restored.status,
            "scope": str(restored.target.scope),
            "path": path,
            "edited": values(restored.edited),
        }
        print(json_line(record))
        return
    print(f"{restored.status}: {path}")
    for change in restored.edited:
        print(f"  kept {'.'.join(change.path)}: it was changed since we wrote it")


def _tell_what_stays(paths: Paths) -> None:
    if paths.launcher.exists():
        print(f"Sessions that run now go on through {paths.launcher}.", file=sys.stderr)
        print("Stop the service: better-claude down", file=sys.stderr)
        print(
            "Remove everything once they have ended: better-claude uninstall --purge",
            file=sys.stderr,
        )


def _purge(paths: Paths, is_sure: bool) -> None:
    if not paths.state.exists():
        return
    left = [stored.record.path for stored in load_all(paths.installs)]
    if left:
        raise UsageError(
            "still-installed",
            f"still installed in {', '.join(left)}, where every Bash call needs the launcher",
            "Run: better-claude uninstall --all --purge",
        )
    if not is_sure and not _agrees(paths):
        raise UsageError(
            "purge-unconfirmed",
            f"nothing was removed: {paths.state} holds every measurement",
            "Run: better-claude uninstall --purge --yes",
        )
    stop_service(paths)
    # Only what is ours, by name: a state folder may have been pointed at something else.
    if (paths.state / "bin/launcher").exists() or paths.store.exists() or paths.token.exists():
        shutil.rmtree(paths.state, ignore_errors=True)
    shutil.rmtree(paths.spools[1], ignore_errors=True)
    print(f"removed: {paths.state}", file=sys.stderr)


def _agrees(paths: Paths) -> bool:
    if not sys.stdin.isatty():
        return False
    return agrees(f"Remove {paths.state} with every measurement, and end what runs through it?")
