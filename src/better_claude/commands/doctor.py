"""`better-claude doctor`: every hook the client would run, and what is wrong with it."""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from better_claude.act.policy import replace_file
from better_claude.claude.hooks.diagnosis import Finding, Setting, Severity, diagnose, start_of
from better_claude.claude.hooks.inventory import Hook, Inventory, take_inventory
from better_claude.claude.hooks.startup import measure_starts
from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.exec_form import unwrap, wrap
from better_claude.claude.settings.file import (
    SettingsFile,
    is_readable_by_others,
    read_settings,
    write_settings,
)
from better_claude.claude.settings.in_force import StatedPrefix, stated_prefixes
from better_claude.claude.settings.installation import identity
from better_claude.claude.settings.overlay import PREFIX, is_launcher
from better_claude.commands.asking import agrees
from better_claude.commands.groundwork import check_launcher_path, lay_ground
from better_claude.commands.install_plan import diff_lines
from better_claude.contract import Contract, Limits, load_contract
from better_claude.errors import BetterClaudeError, ContractError, UsageError
from better_claude.hook_names import hook_name
from better_claude.launcher import built_launcher
from better_claude.paths import Paths
from better_claude.service.state import service_state
from better_claude.show.cells import plural
from better_claude.show.jsonl import json_line
from better_claude.show.screen import Screen
from better_claude.show.table import Column, Room, lay_out, to_lines
from better_claude.show.text import clean
from better_claude.units import format_duration

# Where `--fix` may write: what is the user's alone. The launcher is on nobody else's machine.
_FIXABLE = {"user": Scope.USER, "local": Scope.LOCAL}
_ORDER = list(Severity)
# Findings after which the client never starts the hook.
_DEADLY = ("matcher-broken", "event-unknown")


class Coverage(StrEnum):
    """Whether the launcher is called for a hook; ``NOT_YET``: as soon as the prefix is set."""

    YES = "yes"
    NOT_YET = "not yet"
    NO = "no"
    NEVER_RUNS = "never runs"


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that doctor has found out."""

    inventory: Inventory
    findings: tuple[Finding, ...]
    limits: dict[Hook, Limits]
    coverage: dict[Hook, Coverage]


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add the project, the fixes and examples."""
    parser.description = (
        "List every hook that the client would run (user, project, local, plugins, managed, agents"
        " and skills), whether it is covered, and what is wrong with it. Exit status 1 if any"
        " finding is an error."
    )
    parser.epilog = """examples:
  better-claude doctor
  better-claude doctor --project ~/code/shop --json
  better-claude doctor --fix          put exec-form hooks under the launcher
  better-claude doctor --undo-fix     and back"""
    parser.add_argument("--project", metavar="DIR", type=Path, help="default: the current folder")
    parser.add_argument(
        "--fix", action="store_true", help="rewrite exec-form hooks of your own settings files"
    )
    parser.add_argument("--undo-fix", action="store_true", help="undo what --fix wrote")
    parser.add_argument("--yes", action="store_true", help="do not ask before writing")
    parser.add_argument("--quiet", action="store_true", help="findings only, no list of hooks")
    parser.add_argument("--json", action="store_true", help="JSON Lines: hooks, then findings")


def run(args: argparse.Namespace) -> int:
    """Examine, print, and fix if asked to."""
    paths = Paths.from_environment()
    if args.project is not None and not args.project.is_dir():
        raise UsageError("no-such-folder", f"{args.project} is no folder", "Name a project folder.")
    places = Places.from_environment(args.project)
    if args.fix or args.undo_fix:
        _fix(paths, places, args)
    found = examine(paths, places)
    if args.json:
        _print_json(found)
    else:
        _print_text(found, places, args.quiet)
    return 1 if any(one.severity is Severity.ERROR for one in found.findings) else 0


def examine(paths: Paths, places: Places) -> Examination:
    """Take the inventory and return it with every finding, the worst first."""
    inventory = take_inventory(places)
    contract, findings = _contract(paths, places)
    findings += _installation(paths, places)
    starts = {start_of(hook, places).interpreter for hook in inventory.hooks} - {""}
    limits = {hook: _limits(contract, hook) for hook in inventory.hooks}
    setting = Setting(places, limits.__getitem__, measure_starts(starts, places.project))
    findings += diagnose(inventory, setting)
    findings.sort(key=lambda one: _ORDER.index(one.severity))
    coverage = _coverage(paths, places, inventory.hooks, findings)
    return Examination(inventory, tuple(findings), limits, coverage)


def _coverage(
    paths: Paths, places: Places, hooks: Sequence[Hook], findings: Sequence[Finding]
) -> dict[Hook, Coverage]:
    dead = {
        (one.file, one.place)
        for one in findings
        if one.code in _DEADLY and one.severity is Severity.ERROR
    }
    stated = stated_prefixes(places)
    in_force = bool(stated) and _is_ours(stated[-1].prefix, paths) and _runs(stated[-1].prefix)

    def one(hook: Hook) -> Coverage:
        if (hook.file, hook.place) in dead:
            return Coverage.NEVER_RUNS
        if hook.escape:
            return Coverage.NO
        # What --fix wrote calls the launcher by itself.
        by_itself = hook.args is not None and _runs(hook.command)
        return Coverage.YES if in_force or by_itself else Coverage.NOT_YET

    return {hook: one(hook) for hook in hooks}


def _is_ours(prefix: str, paths: Paths) -> bool:
    return is_launcher(prefix) or prefix == str(paths.launcher)


def _runs(program: str) -> bool:
    return os.access(program, os.X_OK)


def _contract(paths: Paths, places: Places) -> tuple[Contract, list[Finding]]:
    try:
        return load_contract(paths.contract, places.project), []
    except ContractError as error:
        finding = Finding(
            Severity.ERROR,
            "contract-broken",
            f"{error.message}; the limits below are the built-in ones. A service that was running"
            " before keeps those that it understood last.",
            error.remedy,
        )
        return load_contract(), [finding]


def _limits(contract: Contract, hook: Hook) -> Limits:
    limits = contract.hook_limits(hook.event, hook.key, hook_name(hook.text), hook.text)
    if not hook.background:
        return limits
    waited_ms = contract.number("hook_timeouts.background") // 1_000_000
    return Limits(waited_ms, limits.memory_bytes, limits.enforcement)


def _installation(paths: Paths, places: Places) -> Iterator[Finding]:
    stated = stated_prefixes(places)
    if not any(one.prefix for one in stated):
        yield Finding(
            Severity.INFO,
            "not-installed",
            "no settings file has our prefix: hooks are neither measured nor limited.",
            "better-claude run -- claude, for one session; better-claude install, for all.",
        )
        return
    *overruled, winner = stated
    if _is_ours(winner.prefix, paths):
        yield from _launcher(Path(winner.prefix), paths)
        yield from _service(paths)
        yield from _readable_token(paths, places)
        yield from _not_chained(winner, overruled)
    else:
        yield _foreign(winner, any(is_launcher(one.prefix) for one in overruled))


def _foreign(winner: StatedPrefix, is_installed: bool) -> Finding:
    """Say who keeps ours from being called, and what can be done about it."""
    effect = "not ours, so hooks are neither measured nor limited."
    if is_installed:
        effect = "it wins over ours, which is not called: hooks are neither measured nor limited."
    remedy = "Only an administrator can change it."
    if winner.scope is not None:
        remedy = f"better-claude install --scope {winner.scope} keeps it and calls it inside ours."
    return Finding(
        Severity.WARNING,
        "prefix-overruled" if is_installed else "prefix-foreign",
        f"{PREFIX} is {winner.prefix or 'empty'} in {winner.path}: {effect}",
        remedy,
        file=str(winner.path),
    )


def _readable_token(paths: Paths, places: Places) -> Iterator[Finding]:
    path = places.settings(Scope.USER)
    try:
        is_in = paths.token.read_bytes().strip() in path.read_bytes()
    except OSError:
        return
    if is_in and is_readable_by_others(path):
        yield Finding(
            Severity.WARNING,
            "token-readable",
            f"other users of this machine may read {path}, and with it our receiver's token.",
            f"chmod 600 {path}",
            file=str(path),
        )


def _not_chained(ours: StatedPrefix, overruled: Sequence[StatedPrefix]) -> Iterator[Finding]:
    """Find the prefix that would be in force without ours, if ours does not call it."""
    theirs = [one for one in overruled if one.prefix and not is_launcher(one.prefix)]
    if ours.scope is not None and theirs and not ours.chained:
        yield Finding(
            Severity.WARNING,
            "prefix-not-chained",
            f"{theirs[-1].path} sets {PREFIX}={theirs[-1].prefix}, which ours in {ours.path}"
            " overrules and does not call.",
            f"better-claude install --scope {ours.scope} calls it inside ours.",
            file=str(theirs[-1].path),
        )


def _launcher(prefix: Path, paths: Paths) -> Iterator[Finding]:
    if not _runs(str(prefix)):
        yield Finding(
            Severity.ERROR,
            "launcher-gone",
            f"the settings name {prefix}, which cannot be run: every Bash call and hook fails.",
            "better-claude install puts it back; better-claude uninstall takes the prefix out.",
        )
    elif prefix != paths.launcher:
        yield Finding(
            Severity.WARNING,
            "other-state-folder",
            f"the settings name {prefix}, but the state folder here is {paths.state}.",
            "Set BETTER_CLAUDE_STATE to the same folder, or install again.",
        )
    else:
        try:
            is_same = prefix.read_bytes() == built_launcher().read_bytes()
        except (BetterClaudeError, OSError):
            return
        if not is_same:
            message = "the launcher in the state folder is of another version than this package."
            yield Finding(Severity.WARNING, "launcher-other", message, "better-claude install")


def _service(paths: Paths) -> Iterator[Finding]:
    state = service_state(paths)
    if not state.running:
        message = "the service is down: runs are recorded, and stored when it is up again."
        yield Finding(Severity.WARNING, "service-down", message, "better-claude up")
    for stage in state.failing:
        message = f"the service's {stage.name} fails: {stage.error}"
        yield Finding(Severity.WARNING, "service-failing", message, f"See {paths.service_log}")


def _print_json(found: Examination) -> None:
    for hook in found.inventory.hooks:
        limits = found.limits[hook]
        more: dict[str, Any] = {
            "name": hook_name(hook.text),
            "key": hook.key,
            "covered": found.coverage[hook] is Coverage.YES,
            "coverage": found.coverage[hook],
            "limit_ms": limits.timeout_ms,
            "memory_limit_bytes": limits.memory_bytes,
            "enforcement": str(limits.enforcement),
        }
        print(json_line({**msgspec.to_builtins(hook), **more}))
    for finding in found.findings:
        print(json_line(finding))


def _print_text(found: Examination, places: Places, is_quiet: bool) -> None:
    screen = Screen.of()
    if not is_quiet:
        screen.write_lines(_hook_lines(found, screen))
    screen.write_lines(_finding_lines(found.findings))
    nouns = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "hint"}
    counts = [
        plural(sum(one.severity is severity for one in found.findings), noun)
        for severity, noun in nouns.items()
    ]
    coverages = [found.coverage[hook] for hook in found.inventory.hooks]
    told = [f"{coverages.count(Coverage.YES)} covered"]
    told += [
        f"{coverages.count(each)} {each}"
        for each in (Coverage.NOT_YET, Coverage.NEVER_RUNS)
        if each in coverages
    ]
    sys.stdout.flush()
    print(
        f"{plural(len(found.inventory.hooks), 'hook')} in {places.project}, {', '.join(told)};"
        f" {', '.join(counts)}",
        file=sys.stderr,
    )


def _hook_lines(found: Examination, screen: Screen) -> Iterator[str]:
    origins = dict.fromkeys(hook.origin for hook in found.inventory.hooks)
    for origin in origins:
        hooks = [hook for hook in found.inventory.hooks if hook.origin == origin]
        columns: list[Column[Hook]] = [
            Column(origin, lambda hook: hook_name(hook.text), right=False, flexible=True),
            Column("event", lambda hook: hook.event, right=False),
            Column("matcher", lambda hook: hook.matcher, right=False, rank=2),
            Column("covered", lambda hook: _covered(hook, found.coverage[hook]), right=False),
            Column("timeout", _timeout, rank=3),
            Column("limit", lambda hook: _limit_text(found, hook), rank=1),
            Column("file", lambda hook: hook.file, right=False, rank=4, flexible=True),
        ]
        yield from to_lines(lay_out(columns, hooks, Room(screen.width)), screen.colour)
        yield ""


def _covered(hook: Hook, coverage: Coverage) -> str:
    if coverage is not Coverage.NO:
        return coverage
    return "no (exec form)" if hook.args is not None else f"no ({hook.shell or hook.type})"


def _timeout(hook: Hook) -> str:
    return "" if hook.timeout_s is None else f"{hook.timeout_s:g} s"


def _limit_text(found: Examination, hook: Hook) -> str:
    if found.coverage[hook] in (Coverage.NO, Coverage.NEVER_RUNS):
        return ""
    return format_duration(found.limits[hook].timeout_ms * 1e6)


def _finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        yield clean(f"{one.severity}: {one.message}  [{one.code}]")
        about = " ".join(filter(None, (one.event, hook_name(one.command) if one.command else "")))
        where = ": ".join(filter(None, (one.file, about)))
        if where:
            yield clean(f"  in {where}")
        yield clean(f"  do: {one.remedy}")
        yield ""


def _fix(paths: Paths, places: Places, args: argparse.Namespace) -> None:
    """Put the launcher in front of exec-form hooks, or take it away, in the user's own files."""
    check_launcher_path(paths)
    hooks = take_inventory(places).hooks
    for origin, scope in _FIXABLE.items():
        file = read_settings(places.settings(scope), places.roots(scope))
        if file.content is None:
            continue
        found = (hook for hook in hooks if hook.origin == origin and hook.type == "command")
        escaping = [hook.place for hook in found if hook.escape and hook.args is not None]
        text = unwrap(file.text, paths.launcher)
        if args.fix:
            text = wrap(file.text, escaping, paths.launcher)
        if text != file.text:
            _rewrite(paths, file, text, args)


def _rewrite(paths: Paths, file: SettingsFile, text: str, args: argparse.Namespace) -> None:
    print(*diff_lines(file.text, text, str(file.path), "fixed"), sep="\n", file=sys.stderr)
    if not args.yes and sys.stdin.isatty() and not agrees("Write this?"):
        return
    if args.fix:
        lay_ground(paths, load_contract(user=paths.contract))
    backup = paths.state / "backups" / f"{identity(file.path)}-{time.time_ns()}.json"
    backup.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(backup, file.content or b"")
    write_settings(file, text.encode("utf-8"))
    print(f"written: {file.path}; before: {backup}", file=sys.stderr)
