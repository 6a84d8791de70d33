"""What install would write into one settings file, and what a person should know before."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.exec_form import unwrap, wrap, wrapped_places
from better_claude.claude.settings.file import (
    SettingsFile,
    environment_of,
    is_readable_by_others,
    read_settings,
)
from better_claude.claude.settings.in_force import (
    InForce,
    is_trusted,
    merge_settings,
    settings_in_force,
    stated_prefixes,
)
from better_claude.claude.settings.installation import (
    Change,
    load,
    merge,
    settings_before_us,
    take_out,
    without_ours,
)
from better_claude.claude.settings.jsontext import parse_object
from better_claude.claude.settings.overlay import (
    EARLIER_PREFIX,
    PREFIX,
    Overlay,
    Terms,
    is_launcher,
    overlay,
)
from better_claude.claude.settings.traces import find_traces
from better_claude.paths import Paths
from better_claude.show.text import clean


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written: the file as it is, as it was before us, and as it shall be.

    ``unwrapped`` is ``text`` without the launcher in front of exec-form hooks (`doctor --fix`).
    """

    file: SettingsFile
    scope: Scope
    base: str
    unwrapped: str
    text: str
    changes: tuple[Change, ...]
    overlay: Overlay
    notes: tuple[str, ...]
    token: str

    @property
    def is_installed(self) -> bool:
        """Whether the file says all of it already."""
        return self.file.content is not None and parse_object(self.text) == self.file.data

    def diff(self) -> list[str]:
        """Return the unified diff without the token."""
        before = self.file.text if self.file.content else ""
        lines = diff_lines(before, self.text, str(self.file.path), "installed")
        shown = (line.replace(self.token, "********") if self.token else line for line in lines)
        return [line.replace("127.0.0.1:0", "127.0.0.1:<port>") for line in shown]


def diff_lines(before: str, after: str, name: str, what: str) -> list[str]:
    """Return a unified diff that is safe to print."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), name, f"{name} ({what})", lineterm=""
    )
    return [clean(line.replace("\t", "    ")) for line in lines]


def make_plan(paths: Paths, places: Places, scope: Scope, terms: Terms) -> Plan:
    """Return what install would write; raises SettingsError for a file that it must not touch."""
    file = read_settings(places.settings(scope), places.roots(scope))
    stored = load(paths.installs, file.path)
    # What `doctor --fix` put in front of exec-form hooks is taken off first, and put on again last.
    wrapped = tuple(wrapped_places(file.data, paths.launcher))
    plain = unwrap(file.text, paths.launcher) if wrapped else file.text
    if stored is None:
        base = take_out(plain, find_traces(plain, file.data, paths.launcher, terms.context))[0]
    else:
        base = without_ours(plain, _bytes(file, plain), stored)
    if scope is Scope.PROJECT:
        terms = Terms(terms.launcher, terms.context)
    own = parse_object(base)
    below = _below(paths, places, scope)
    ours = overlay(merge_settings(below.settings, own), terms, os.environ)
    text, changes = merge(base, ours.members)
    token = terms.receiver.token if terms.receiver else ""
    chained = "" if PREFIX in environment_of(own) else ours.chained_prefix
    notes = (
        *below.notes,
        *ours.notes,
        *_scope_notes(scope, paths),
        *_token_notes(file, token),
        *_prefix_notes(places, scope, chained),
    )
    return Plan(
        file=file,
        scope=scope,
        base=base,
        unwrapped=text,
        text=wrap(text, wrapped, paths.launcher),
        changes=changes,
        overlay=ours,
        notes=notes,
        token=token,
    )


def _bytes(file: SettingsFile, text: str) -> bytes | None:
    return None if file.content is None else text.encode("utf-8")


def _scope_notes(scope: Scope, paths: Paths) -> Iterator[str]:
    if scope is Scope.PROJECT:
        yield (
            f"This file is shared: {paths.launcher} must exist for everybody who has the project,"
            " or their Bash calls and hooks fail. For yourself alone: --scope local."
        )
    if scope is not Scope.USER:
        yield (
            "The client heeds telemetry variables only in your user settings: API calls and tokens"
            " are not recorded from here. Hooks, tools and servers are."
        )


def _token_notes(file: SettingsFile, token: str) -> Iterator[str]:
    if token and is_readable_by_others(file.target):
        yield (
            f"Other users of this machine may read {file.target}, and with it our receiver's token:"
            f" chmod 600 {file.target}"
        )


def _below(paths: Paths, places: Places, scope: Scope) -> InForce:
    """Return what would be in force without us and without this file, which overrules it.

    Of the environment only the prefix: what else a session of ours has there may be our own.
    """
    order = list(Scope)
    return settings_in_force(
        places,
        order[: order.index(scope)],
        {name: os.environ[name] for name in (PREFIX,) if name in os.environ},
        folder_is_trusted=is_trusted(places),
        look=lambda path: settings_before_us(paths.installs, path),
    )


def _prefix_notes(places: Places, scope: Scope, chained: str) -> Iterator[str]:
    """Yield which prefix from below is called inside ours, and which above is called instead."""
    order = list(Scope)
    if chained:
        yield (
            f"{PREFIX}={chained} was in force here from elsewhere. It is called inside ours:"
            f" this file names it in {EARLIER_PREFIX}."
        )
    for one in stated_prefixes(places):
        if is_launcher(one.prefix):
            continue
        if one.scope is None:
            yield f"{one.path} sets {PREFIX}, which wins: ours will not be called anywhere."
        elif order.index(one.scope) > order.index(scope):
            yield (
                f"{one.path} sets {PREFIX}={one.prefix}, which wins: ours will not be called here."
                f" To call it inside ours: better-claude install --scope {one.scope}"
            )
