"""What is wrong with the hooks that the client would run, and what to do about it."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from stat import S_IWGRP, S_IWOTH

import msgspec

from better_claude.claude.hooks.events import EVENTS, UNMATCHED, is_pattern, nearest_event
from better_claude.claude.hooks.inventory import Flaw, Hook, Inventory
from better_claude.claude.hooks.pattern import PatternError, check_pattern
from better_claude.claude.hooks.programs import Start, Trouble, read_arguments, read_command
from better_claude.claude.places import Places
from better_claude.contract import Limits
from better_claude.hook_names import hook_name
from better_claude.units import format_duration

# Nobody waits a quarter of an hour for a hook; many write 5000 and mean five seconds.
_MILLISECONDS_FROM = 1000
_TOOLS = ("Bash", "Edit", "Glob", "Grep", "MultiEdit", "NotebookEdit", "Read", "Task", "WebFetch")
_TOOL_NAMES = {tool.lower(): tool for tool in (*_TOOLS, "WebSearch", "Write", "TodoWrite", "Agent")}
_TOOL_EVENTS = ("PreToolUse", "PostToolUse", "PostToolUseFailure", "PermissionRequest")
# Seen (2.1.330): one entry of these that cannot be loaded puts the whole file out of force.
_GUARDING = ("PreToolUse", "PermissionRequest")
# Docs: what the client allows where nothing is written.
_CLIENT_LIMITS_S = {"UserPromptSubmit": 30.0, "MessageDisplay": 10.0, "SessionEnd": 1.5}
_CLIENT_LIMIT_S = 600.0

LimitsOf = Callable[[Hook], Limits]


class Severity(StrEnum):
    """How much a finding matters; any error makes `doctor` exit with 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(msgspec.Struct, frozen=True, tag_field="kind", tag="finding"):
    """One thing that is wrong; ``place`` is the way to the hook in ``file``, empty for none."""

    severity: Severity
    code: str
    message: str
    remedy: str
    origin: str = ""
    file: str = ""
    event: str = ""
    command: str = ""
    place: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What findings depend on beside the hooks: folders, limits and measured interpreter starts."""

    places: Places
    limits_of: LimitsOf
    starts_ns: Mapping[str, int]


def diagnose(inventory: Inventory, setting: Setting) -> list[Finding]:
    """Return all findings: those of files first, then hook by hook in the order of the files."""
    found = [_of_flaw(flaw) for flaw in inventory.flaws]
    found += _switched_off(inventory)
    for hook in inventory.hooks:
        for finding in _of_hook(hook, setting):
            found.append(
                msgspec.structs.replace(
                    finding,
                    origin=hook.origin,
                    file=hook.file,
                    event=hook.event,
                    command=hook.command,
                    place=hook.place,
                )
            )
    found += _duplicates(inventory.hooks)
    return found


def start_of(hook: Hook, places: Places) -> Start:
    """Return what a hook starts: its interpreter, its files, and what is wrong with them."""
    if hook.type != "command":
        return Start("", (), ())
    variables = {"HOME": str(places.home), "CLAUDE_PROJECT_DIR": str(places.project)}
    if hook.root:
        variables["CLAUDE_PLUGIN_ROOT"] = hook.root
    if hook.args is not None:
        return read_arguments(hook.words, variables, places.project)
    return read_command(hook.command, variables, places.project)


def _of_flaw(flaw: Flaw) -> Finding:
    if flaw.unusable:
        effect, code = "The client ignores the whole file, its hooks included.", "file-unusable"
    elif flaw.event in _GUARDING:
        effect, code = "The client puts the whole file out of force.", "hook-malformed"
    else:
        effect, code = "The client leaves this entry out.", "hook-malformed"
    return Finding(
        Severity.ERROR,
        code,
        f"{flaw.what}. {effect}",
        "Mend it.",
        flaw.origin,
        flaw.file,
        flaw.event,
    )


def _switched_off(inventory: Inventory) -> Iterator[Finding]:
    if inventory.disabled_by:
        yield Finding(
            Severity.WARNING,
            "hooks-disabled",
            "disableAllHooks is true: no hook runs at all.",
            "Remove it if that is not meant.",
            file=inventory.disabled_by,
        )
    if inventory.managed_only_by:
        yield Finding(
            Severity.INFO,
            "managed-hooks-only",
            "allowManagedHooksOnly is true: only an administrator's hooks run.",
            "Nothing to do; the others below have no effect.",
            file=inventory.managed_only_by,
        )


def _of_hook(hook: Hook, setting: Setting) -> Iterator[Finding]:
    yield from _event(hook)
    yield from _matcher(hook)
    if hook.event not in EVENTS:
        return
    limits = setting.limits_of(hook)
    yield from _timeout(hook, limits)
    yield from _escape(hook)
    start = start_of(hook, setting.places)
    yield from _files(hook, start)
    yield from _startup(hook, start, limits, setting.starts_ns)


def _event(hook: Hook) -> Iterator[Finding]:
    if hook.event in EVENTS:
        return
    near = nearest_event(hook.event)
    yield Finding(
        Severity.ERROR if near else Severity.WARNING,
        "event-unknown",
        f"there is no event {hook.event}: the hook never runs.",
        f"Write {near}." if near else "A newer client may know it; doctor knows those of 2.1.330.",
    )


def _matcher(hook: Hook) -> Iterator[Finding]:
    if not hook.matcher:
        return
    if hook.event in UNMATCHED:
        yield Finding(
            Severity.INFO,
            "matcher-without-effect",
            f"{hook.event} has nothing to match: the matcher {hook.matcher!r} is ignored.",
            "Remove the matcher.",
        )
    elif is_pattern(hook.event, hook.matcher):
        try:
            check_pattern(hook.matcher)
        except PatternError as error:
            yield Finding(
                Severity.ERROR,
                "matcher-broken",
                f"the matcher {hook.matcher!r} is a broken pattern: {error}. The hook never runs.",
                "Mend the pattern; names alone are written like Edit|Write.",
            )
    elif hook.event in _TOOL_EVENTS:
        yield from _tool_names(hook)


def _tool_names(hook: Hook) -> Iterator[Finding]:
    for name in hook.matcher.replace(",", "|").split("|"):
        tool = _TOOL_NAMES.get(name.strip().lower())
        if tool and tool != name.strip():
            yield Finding(
                Severity.ERROR,
                "matcher-case",
                f"the matcher {name.strip()!r} matches no tool: names are case-sensitive.",
                f"Write {tool}.",
            )


def _timeout(hook: Hook, limits: Limits) -> Iterator[Finding]:
    if hook.timeout_s is None:
        if hook.type != "command":
            return
        client = format_duration(_CLIENT_LIMITS_S.get(hook.event, _CLIENT_LIMIT_S) * 1e9)
        yield Finding(
            Severity.INFO,
            "timeout-missing",
            f"no timeout: without us the client would wait {client}.",
            f"Write one, in seconds; ours is {_limit(limits)}.",
        )
    elif hook.timeout_s >= _MILLISECONDS_FROM:
        meant = f"{hook.timeout_s / 1000:g}"
        yield Finding(
            Severity.ERROR,
            "timeout-milliseconds",
            f"timeout is {hook.timeout_s:g} seconds ({format_duration(hook.timeout_s * 1e9)}):"
            " the field is in seconds, not milliseconds.",
            f"Write {meant}, if {meant} seconds are meant.",
        )
    elif not hook.escape and hook.timeout_s * 1000 > limits.timeout_ms and not hook.background:
        yield Finding(
            Severity.INFO,
            "timeout-above-limit",
            f"timeout is {hook.timeout_s:g} s; our limit of {_limit(limits)} is first.",
            f'Where it needs longer, in the contract: [hook."{_name(hook)}"] timeout = "…"',
        )


def _name(hook: Hook) -> str:
    return hook_name(hook.text)


def _limit(limits: Limits) -> str:
    return format_duration(limits.timeout_ms * 1e6)


def _escape(hook: Hook) -> Iterator[Finding]:
    if not hook.escape:
        return
    if hook.args is not None:
        yield Finding(
            Severity.WARNING,
            "exec-form",
            "exec form (args): the client starts it without the prefix, so nothing measures it.",
            "better-claude doctor --fix puts the launcher in front of it."
            if hook.origin in ("user", "local")
            else "Write it as one shell command, without args.",
        )
    elif hook.type == "command":
        yield Finding(
            Severity.WARNING,
            "powershell",
            "a PowerShell hook: the client starts it without the prefix, so nothing measures it.",
            'Remove "shell": "powershell" if a POSIX shell can run it.',
        )
    else:
        yield Finding(
            Severity.INFO,
            "not-a-process",
            f"a hook of type {hook.type} is no process of this machine: nothing measures it.",
            "Nothing to do; its own timeout is its only limit.",
        )


def _files(hook: Hook, start: Start) -> Iterator[Finding]:
    for name, trouble in start.troubles:
        if trouble is Trouble.NOT_IN_PATH:
            yield Finding(
                Severity.WARNING,
                "program-not-found",
                f"{name} {trouble.value} here: unless the client's PATH has it, the hook fails.",
                "Install it, or write its whole path.",
            )
        elif trouble is Trouble.NOT_EXECUTABLE:
            yield Finding(
                Severity.ERROR,
                "script-not-executable",
                f"{name} {trouble.value}.",
                f"chmod +x {name}",
            )
        else:
            yield Finding(
                Severity.ERROR,
                "script-missing",
                f"{name} {trouble.value}: the hook fails at every event.",
                "Put the script there, or correct the path.",
            )
    for path in (*start.files, Path(hook.file)):
        if _others_may_write(path):
            yield Finding(
                Severity.WARNING,
                "writable-by-others",
                f"{path} can be changed by other users, who would then run code as you.",
                f"chmod go-w {path}",
            )


def _others_may_write(path: Path) -> bool:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a NUL in a command
        return False
    # A group of one's own (umask 002) is no other user.
    group = bool(status.st_mode & S_IWGRP) and status.st_gid != status.st_uid
    return bool(status.st_mode & S_IWOTH) or group


def _startup(
    hook: Hook, start: Start, limits: Limits, starts_ns: Mapping[str, int]
) -> Iterator[Finding]:
    cost_ns = starts_ns.get(start.interpreter, 0)
    limit_ns = limits.timeout_ms * 1_000_000
    if cost_ns * 2 <= limit_ns or hook.background or not cost_ns:
        return
    spent = f"{start.interpreter} alone needs {format_duration(cost_ns)} to start"
    if cost_ns > limit_ns:
        yield Finding(
            Severity.ERROR,
            "interpreter-too-slow",
            f"{spent}, more than the whole limit of {hook.event} ({_limit(limits)}).",
            "Write the hook for a faster interpreter, or give it another limit in the contract.",
        )
    else:
        yield Finding(
            Severity.WARNING,
            "interpreter-slow",
            f"{spent}, more than half the limit of {hook.event} ({_limit(limits)}).",
            "Write the hook for a faster interpreter, or give it another limit in the contract.",
        )


def _duplicates(hooks: Sequence[Hook]) -> Iterator[Finding]:
    seen: defaultdict[tuple[object, ...], list[Hook]] = defaultdict(list)
    for hook in hooks:
        seen[hook.event, hook.matcher, hook.type, hook.command, hook.args, hook.root].append(hook)
    for same in seen.values():
        if len(same) > 1:
            hook = same[-1]
            where = ", ".join(dict.fromkeys(one.file for one in same))
            yield Finding(
                Severity.WARNING,
                "duplicate",
                f"written {len(same)} times ({where}): the client runs it once.",
                "Keep one of them.",
                hook.origin,
                hook.file,
                hook.event,
                hook.command,
                hook.place,
            )
