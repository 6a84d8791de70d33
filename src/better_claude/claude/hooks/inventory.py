"""Every hook that the client would run in one project, and where each is written."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from better_claude.claude.hooks.events import EVENTS
from better_claude.claude.hooks.plugins import Plugin, enabled_plugins
from better_claude.claude.places import Places, Scope
from better_claude.claude.settings.file import look_at_settings
from better_claude.claude.settings.overlay import is_launcher
from better_claude.errors import SettingsError
from better_claude.model import fnv1a64
from better_claude.paths import read_regular_file

_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---", re.DOTALL)
# The lines below "hooks:" that are indented or empty.
_HOOKS_BLOCK = re.compile(r"^hooks:[ \t]*\r?\n((?:(?:[ \t].*)?\r?\n)+)", re.MULTILINE)
_YAML_KEY = re.compile(r"^[ \t]*(?:-[ \t]+)?(\w+):[ \t]*(.*?)[ \t]*$")
_TYPES = ("command", "http", "prompt", "agent", "mcp_tool")
_LARGEST_DOCUMENT = 1 << 20
_LONGEST_TIMEOUT_S = 10**12


class Hook(msgspec.Struct, frozen=True, tag_field="kind", tag="configured_hook"):
    """One handler as it is written.

    ``origin`` is user, project, local, managed, plugin, agent or skill, ``file`` where it stands
    and ``place`` the way to it in that file. ``timeout_s`` is None where none is written.
    ``escape`` says why the prefix does not reach it, empty if it does.
    """

    origin: str
    file: str
    event: str
    matcher: str
    type: str
    command: str
    place: tuple[str | int, ...]
    args: tuple[str, ...] | None = None
    shell: str = ""
    timeout_s: float | None = None
    background: bool = False
    plugin: str = ""
    root: str = ""
    escape: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The command and its arguments, without a launcher of ours in front (exec form)."""
        if self.args and is_launcher(self.command):
            return self.args
        return (self.command, *(self.args or ()))

    @property
    def text(self) -> str:
        """The command as the launcher records it, but for what the client fills in (exec form)."""
        return " ".join(self.words)

    @property
    def key(self) -> str:
        """The key under which the launcher records it."""
        return f"{fnv1a64(self.text.encode('utf-8', 'surrogatepass')):016x}"


class Flaw(msgspec.Struct, frozen=True):
    """Something in a file of settings that is not what the client expects.

    ``unusable``: the file as a whole has no effect. ``event`` is where the flaw is, if in one.
    """

    origin: str
    file: str
    what: str
    event: str = ""
    unusable: bool = False


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the client would run, what is wrong with the files, and who switched hooks off."""

    hooks: tuple[Hook, ...]
    flaws: tuple[Flaw, ...] = ()
    disabled_by: str = ""
    managed_only_by: str = ""
    settings: Mapping[str, dict[str, Any]] | None = None


def take_inventory(places: Places) -> Inventory:
    """Read all settings, plugins, agents and skills that a session in the project would use."""
    flaws: list[Flaw] = []
    documents = list(_documents(places, flaws))
    hooks: list[Hook] = []
    for origin, path, settings in documents:
        hooks += _hooks_of(settings, origin, path, flaws)
    for plugin in enabled_plugins(places, [settings for _, _, settings in documents]):
        hooks += _plugin_hooks(plugin, flaws)
    hooks += _front_matter_hooks(places)
    return Inventory(
        tuple(hooks),
        tuple(flaws),
        _says(documents, "disableAllHooks"),
        _says([one for one in documents if one[0] == "managed"], "allowManagedHooksOnly"),
        {str(path): settings for _, path, settings in documents},
    )


def background_commands(inventory: Inventory) -> frozenset[str]:
    """Return the commands that the client never waits for: every hook of that text is async."""
    waited_for = {hook.command for hook in inventory.hooks if not hook.background}
    return frozenset(hook.command for hook in inventory.hooks if hook.background) - waited_for


def users_own_commands(inventory: Inventory) -> frozenset[str]:
    """Return the commands that the user, a plugin or an administrator brought, not the project."""
    return frozenset(
        hook.command for hook in inventory.hooks if hook.origin in ("user", "plugin", "managed")
    )


Document = tuple[str, Path, dict[str, Any]]


def _documents(places: Places, flaws: list[Flaw]) -> Iterator[Document]:
    files = [(scope.value, places.settings(scope)) for scope in Scope]
    files += [("managed", path) for path in places.managed_files()]
    for origin, path in files:
        try:
            yield origin, path, look_at_settings(path)
        except SettingsError as error:
            flaws.append(Flaw(origin, str(path), error.message, unusable=True))


def _says(documents: list[Document], name: str) -> str:
    return next((str(path) for _, path, data in documents if data.get(name) is True), "")


def _hooks_of(
    settings: Mapping[str, Any],
    origin: str,
    path: Path,
    flaws: list[Flaw],
    plugin: Plugin | None = None,
) -> Iterator[Hook]:
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict):
        flaws.append(Flaw(origin, str(path), "hooks is not an object"))
        return
    for event, groups in hooks.items():
        if not isinstance(groups, list):
            flaws.append(Flaw(origin, str(path), f"hooks.{event} is not a list", event))
            continue
        for i, group in enumerate(groups):
            handlers = group.get("hooks") if isinstance(group, dict) else None
            if not isinstance(handlers, list):
                what = f"hooks.{event}[{i}] has no list of hooks"
                flaws.append(Flaw(origin, str(path), what, event))
                continue
            for j, handler in enumerate(handlers):
                place = ("hooks", event, i, "hooks", j)
                try:
                    yield _hook(handler, group, origin, path, place, plugin=plugin)
                except (TypeError, ValueError, KeyError) as error:
                    what = f"hooks.{event}[{i}].hooks[{j}]: {error.args[0]}"
                    flaws.append(Flaw(origin, str(path), what, event))


def _hook(
    handler: Any,
    group: Mapping[str, Any],
    origin: str,
    path: Path,
    place: tuple[str | int, ...],
    *,
    plugin: Plugin | None,
) -> Hook:
    if not isinstance(handler, dict):
        raise TypeError("is not an object")
    kind = handler.get("type")
    if kind not in _TYPES:
        raise ValueError(f"type is {json.dumps(kind)}, not one of {', '.join(_TYPES)}")
    command = handler.get("command", handler.get("url", handler.get("prompt", "")))
    if not isinstance(command, str) or (kind == "command" and not command.strip()):
        raise ValueError("has no command")
    args = handler.get("args")
    if args is not None and not (isinstance(args, list) and all(isinstance(a, str) for a in args)):
        raise ValueError("args is not a list of texts")
    matcher = group.get("matcher", "")
    if not isinstance(matcher, str):
        raise ValueError(f"its matcher is {json.dumps(matcher)}, not a text")
    return Hook(
        origin=origin,
        file=str(path),
        event=str(place[1]),
        matcher=matcher,
        type=kind,
        command=command,
        place=place,
        args=None if args is None else tuple(args),
        shell=str(handler.get("shell") or ""),
        timeout_s=_timeout(handler.get("timeout")),
        background=handler.get("async") is True or handler.get("asyncRewake") is True,
        plugin=plugin.name if plugin else "",
        root=str(plugin.root) if plugin else "",
        escape=_escape(handler),
    )


def _timeout(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"timeout is {json.dumps(value)}, not a number of seconds above 0")
    # JSON has numbers beyond any float, and 1e999, which is infinite.
    return float(min(value, _LONGEST_TIMEOUT_S))


def _escape(handler: Mapping[str, Any]) -> str:
    if handler["type"] != "command":
        return f"a hook of type {handler['type']} is no process"
    if handler.get("args") is not None:
        # With our launcher in front, as `doctor --fix` writes it, an exec-form hook is covered.
        is_ours = handler["args"] and is_launcher(handler["command"])
        return "" if is_ours else "exec form (args): started without a shell, so without the prefix"
    if handler.get("shell") == "powershell":
        return "runs in PowerShell"
    return ""


def _plugin_hooks(plugin: Plugin, flaws: list[Flaw]) -> Iterator[Hook]:
    for path, document in plugin.hook_documents():
        if document is None:
            flaws.append(Flaw("plugin", str(path), "cannot be read as JSON", unusable=True))
            continue
        # A hooks file of a plugin has its events below "hooks", or (older ones) at the top.
        wrapped = document if "hooks" in document else {"hooks": document}
        yield from _hooks_of(wrapped, "plugin", path, flaws, plugin)


def _front_matter_hooks(places: Places) -> Iterator[Hook]:
    for folder in (places.config, places.project / ".claude"):
        for origin, pattern in (("agent", "agents/**/*.md"), ("skill", "skills/*/SKILL.md")):
            for path in sorted(folder.glob(pattern)):
                yield from _front_matter(path, origin)


def _front_matter(path: Path, origin: str) -> Iterator[Hook]:
    """Read hooks from the block-style YAML that agents and skills begin with.

    No YAML library: the shape is fixed (event, matcher, type, command), so names at line starts do.
    """
    try:
        text = read_regular_file(path, _LARGEST_DOCUMENT + 1).decode("utf-8", "replace")
    except OSError:
        return
    if len(text) > _LARGEST_DOCUMENT:
        return
    head = _FRONT_MATTER.match(text)
    block = _HOOKS_BLOCK.search(head[1] + "\n") if head else None
    event, matcher, place = "", "", 0
    for line in block[1].splitlines() if block else ():
        found = _YAML_KEY.match(line)
        if found is None:
            continue
        name, value = found[1], found[2].strip()
        if name in EVENTS and not value:
            event, matcher = name, ""
        elif name == "matcher":
            matcher = _unquoted(value)
        elif name == "command" and event:
            yield Hook(
                origin=origin,
                file=str(path),
                event=event,
                matcher=matcher,
                type="command",
                command=_unquoted(value),
                place=("hooks", event, place),
            )
            place += 1


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
