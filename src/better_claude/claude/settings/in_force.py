"""The settings that one session has in force before ours come on top."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.file import environment_of, look_at_settings
from better_claude.claude.settings.overlay import EARLIER_PREFIX, PERCENT, PREFIX
from better_claude.errors import SettingsError

_TELEMETRY = ("OTEL_", "CLAUDE_CODE_ENABLE_TELEMETRY")
# What the process environment says is overruled by any settings file (seen).
_FROM_ENVIRONMENT = (PREFIX, EARLIER_PREFIX, PERCENT)


@dataclass(frozen=True, slots=True)
class InForce:
    """Settings merged in the client's order, an administrator's, and what is odd about them."""

    settings: Mapping[str, Any]
    managed: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def manages_telemetry(self) -> bool:
        """Whether an administrator has decided where telemetry goes."""
        return any(name.startswith(_TELEMETRY) for name in environment_of(dict(self.managed)))

    @property
    def manages_prefix(self) -> bool:
        """Whether an administrator has set a prefix, over which ours has no effect."""
        return PREFIX in environment_of(dict(self.managed))


def settings_in_force(
    places: Places,
    scopes: Iterable[Scope],
    environ: Mapping[str, str],
    *,
    folder_is_trusted: bool,
    look: Callable[[Path], dict[str, Any]] = look_at_settings,
) -> InForce:
    """Read what a session sees: user below project below local, an administrator's beside them.

    ``look`` reads one of the first three; raises SettingsError for what it cannot understand.
    A file that cannot be understood is left out, as the client leaves it out, and named in the
    notes. A repository's telemetry variables are left out because the client ignores them (seen),
    and its prefix as long as nobody trusted the folder: ours would put it in force too early.
    """
    notes: list[str] = []
    settings: dict[str, Any] = {"env": _of_environment(environ, notes)}
    for scope in sorted(scopes, key=list(Scope).index):
        found = _look(look, places.settings(scope), notes)
        if scope is not Scope.USER:
            found = _without_what_a_repository_may_not(found, folder_is_trusted, notes)
        settings = merge_settings(settings, found)
    managed: dict[str, Any] = {}
    for path in places.managed_files():
        managed = merge_settings(managed, _look(look_at_settings, path, notes))
    return InForce(settings, managed, tuple(notes))


def merge_settings(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``over`` on top: objects are merged, anything else is replaced."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = merge_settings(below, value)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True, slots=True)
class StatedPrefix:
    """A settings file that sets a prefix; ``scope`` is None where it is an administrator's.

    ``chained`` is what our launcher is told to call inside itself, by this file or one below it.
    """

    path: Path
    scope: Scope | None
    prefix: str
    chained: str = ""


def stated_prefixes(places: Places) -> list[StatedPrefix]:
    """Return every prefix that a settings file sets, the one that is in force last.

    A file that cannot be understood sets none, as the client leaves it out.
    """
    files: list[tuple[Path, Scope | None]] = [(places.settings(scope), scope) for scope in Scope]
    files += [(path, None) for path in places.managed_files()]
    stated = []
    chained = ""
    for path, scope in files:
        env = environment_of(_look(look_at_settings, path, []))
        chained = env.get(EARLIER_PREFIX, chained)
        if PREFIX in env:
            stated.append(StatedPrefix(path, scope, env[PREFIX].strip(), chained))
    return stated


def _of_environment(environ: Mapping[str, str], notes: list[str]) -> dict[str, str]:
    own = {name: environ[name] for name in _FROM_ENVIRONMENT if environ.get(name)}
    # What is not UTF-8 cannot be written into settings, and half a path would call nothing.
    for name in [name for name, value in own.items() if not value.isprintable()]:
        notes.append(f"{name} of your environment holds unprintable text and is not kept")
        del own[name]
    return own


def is_trusted(places: Places) -> bool:
    """Tell whether the client was told to trust the project's folder or one above it."""
    try:
        document = json.loads(places.client_state.read_bytes())
        projects = document["projects"]
        folders = (places.project.resolve(), *places.project.resolve().parents)
        return any(projects.get(str(f), {}).get("hasTrustDialogAccepted") is True for f in folders)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _look(look: Callable[[Path], dict[str, Any]], path: Path, notes: list[str]) -> dict[str, Any]:
    try:
        return look(path)
    except SettingsError as error:
        notes.append(f"{error.message}; the client leaves it out, and so do we")
        return {}


def _without_what_a_repository_may_not(
    settings: Mapping[str, Any], trusted: bool, notes: list[str]
) -> dict[str, Any]:
    env = settings.get("env")
    if not isinstance(env, dict):
        return dict(settings)
    kept = {name: value for name, value in env.items() if not name.startswith(_TELEMETRY)}
    if not trusted and PREFIX in kept:
        notes.append(f"this folder's {PREFIX} is not chained: the folder is not trusted yet")
        del kept[PREFIX]
    return {**settings, "env": kept}
