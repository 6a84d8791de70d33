"""Write the contract as the policy that the launcher reads (docs/formats.md, Policy)."""

import contextlib
import glob
import os
import re
import tempfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from better_claude.contract import Contract, HookTerms, Limits
from better_claude.contract.tree import Authority
from better_claude.model import fnv1a64
from better_claude.paths import Paths

USER = "-"
ANY_EVENT = "*"
# What the launcher is asked to read at every run must stay small, whatever a repository holds.
MAXIMUM_PROJECTS = 64
MAXIMUM_PROJECT_TERMS = 64
# A launcher takes a file of a megabyte or more for none of ours, and the user's limits with it.
MAXIMUM_PROJECTS_BYTES = 256 << 10
MAXIMUM_BACKGROUND = 64
MAXIMUM_USERS_OWN = 1024
_LONGEST_PATTERN = 512
_KEY = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f%]")


@dataclass(frozen=True, slots=True)
class KnownHooks:
    """Commands of hooks about which the settings files say something that the limits depend on.

    ``background``: the client never waits for them. ``users_own``: the user, a plugin or an
    administrator brought them, so that a project's contract is not meant for them.
    """

    background: frozenset[str] = frozenset()
    users_own: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where the launcher may make a cgroup for each hook.

    ``folder`` is the folder in which they stand, ``reach`` the cgroup, named as in
    ``/proc/<pid>/cgroup``, from below which the kernel lets us place processes there.
    """

    folder: Path
    reach: str


def publish_policy(
    paths: Paths,
    contract: Contract,
    projects: Mapping[str, Contract] | None = None,
    known: KnownHooks = KnownHooks(),
    cgroups: Cgroups | None = None,
) -> bool:
    """Replace the policy file if the contracts now say something else; tell whether they did.

    ``projects`` holds the merged contract of each project folder, named as ``CLAUDE_PROJECT_DIR``
    names it, ``known`` what the settings say of hooks, ``cgroups`` where hooks get their own. The
    file is replaced by a rename: a launcher reads the old text or the new one.
    Raises OSError if the state folder cannot be written.
    """
    text = build_policy(contract, projects or {}, known, cgroups)
    with contextlib.suppress(OSError):
        if paths.policy.read_bytes() == text:
            return False
    replace_file(paths.policy, text)
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Put ``content`` in place of ``path`` by a rename, readable by the owner only."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def build_policy(
    contract: Contract,
    projects: Mapping[str, Contract],
    known: KnownHooks = KnownHooks(),
    cgroups: Cgroups | None = None,
) -> bytes:
    """Return the policy's text: each line with its checksum, closed by the number of lines."""
    lines = [_global(contract) + _place(cgroups), *_events(USER, contract)]
    # Before the user's own terms, because the last match wins.
    lines += [*_background(contract, known.background), *_terms(USER, contract)]
    if projects:
        lines += _owners(known.users_own)
    lines += _projects(contract, projects)
    framed = ["better-claude-policy 1", *lines, f"end {len(lines)}"]
    return b"".join(seal(line) for line in framed)


def _projects(contract: Contract, projects: Mapping[str, Contract]) -> Iterator[str]:
    room = MAXIMUM_PROJECTS_BYTES
    for folder, own in list(projects.items())[:MAXIMUM_PROJECTS]:
        scope = project_key(folder)
        differs = _event_table(own) != _event_table(contract)
        lines = [*(_events(scope, own) if differs else ()), *_terms(scope, own)]
        size = sum(len(seal(line)) for line in lines)
        # One that asks for too much has no say, and takes no other's away.
        if size <= room:
            room -= size
            yield from lines


def seal(line: str) -> bytes:
    """Return ``line`` with the checksum that the launcher asks for."""
    raw = line.encode()
    return b"%b *%08x\n" % (raw, zlib.crc32(raw))


def project_key(folder: str) -> str:
    """Return the scope of a project folder, as ``CLAUDE_PROJECT_DIR`` names it."""
    return f"{fnv1a64(os.fsencode(folder)):016x}"


def quote_pattern(pattern: str) -> str:
    """Return a pattern as one field: spaces, ``%`` and control characters as ``%20``, ``%25``."""
    return _UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", pattern)


def _global(contract: Contract) -> str:
    grace_ms = contract.number("stop.grace") // 1_000_000
    background_ms = contract.number("hook_timeouts.background") // 1_000_000
    autostart = int(contract.flag("service.autostart"))
    return f"global grace_ms={grace_ms} autostart={autostart} background_ms={background_ms}"


def _place(cgroups: Cgroups | None) -> str:
    if cgroups is None:
        return ""
    folder, reach = quote_pattern(str(cgroups.folder)), quote_pattern(cgroups.reach)
    return f" cgroup={folder} cgroup_from={reach}"


def _background(contract: Contract, commands: Collection[str]) -> Iterator[str]:
    """Nobody waits for an async hook, so an event's interactive limit is not meant for it."""
    timeout_ms = contract.number("hook_timeouts.background") // 1_000_000
    for command in sorted(commands)[:MAXIMUM_BACKGROUND]:
        pattern = quote_pattern(glob.escape(command))
        # What the launcher would not take, or no shell can be given, keeps its event's limit.
        if len(pattern) <= _LONGEST_PATTERN and pattern.isprintable():
            yield f"match {USER} {pattern} timeout_ms={timeout_ms}"


def _owners(commands: Collection[str]) -> Iterator[str]:
    """Keep the user's own hooks out of every project's reach."""
    for command in sorted(commands)[:MAXIMUM_USERS_OWN]:
        yield f"hook {USER} {fnv1a64(command.encode('utf-8', 'replace')):016x} owner=user"


def _events(scope: str, contract: Contract) -> Iterator[str]:
    for event, limits in _event_table(contract).items():
        yield (
            f"event {scope} {event} timeout_ms={limits.timeout_ms}"
            f" memory_bytes={limits.memory_bytes} mode={limits.enforcement}"
        )


def _event_table(contract: Contract) -> dict[str, Limits]:
    # No event is called "default", so its limits are those of any event without a line.
    names = {ANY_EVENT: "default", **{event: event for event in contract.event_names()}}
    return {event: contract.event_limits(name) for event, name in names.items()}


def _terms(scope: str, contract: Contract) -> Iterator[str]:
    authority = Authority.SET if scope == USER else Authority.TIGHTEN
    terms = [own for own in contract.hooks if own.authority is authority]
    for own in terms if scope == USER else terms[:MAXIMUM_PROJECT_TERMS]:
        settings = " ".join(_settings(own))
        if not settings:
            continue
        if _KEY.fullmatch(own.pattern):
            yield f"hook {scope} {own.pattern} {settings}"
        else:
            yield f"match {scope} {quote_pattern(own.glob)} {settings}"


def _settings(terms: HookTerms) -> Iterator[str]:
    if terms.timeout_ms is not None:
        yield f"timeout_ms={terms.timeout_ms}"
    if terms.memory_bytes is not None:
        yield f"memory_bytes={terms.memory_bytes}"
    if terms.enforcement is not None:
        yield f"mode={terms.enforcement}"
