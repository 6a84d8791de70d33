"""The plugins that are switched on in a project, and the files that give them hooks."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from better_claude.claude.places import Places
from better_claude.paths import read_regular_file

_LARGEST = 1 << 22


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin ``name@marketplace`` and the folder that ``CLAUDE_PLUGIN_ROOT`` names."""

    name: str
    root: Path

    def hook_documents(self) -> Iterator[tuple[Path, dict[str, Any] | None]]:
        """Yield each file with hooks and what it holds; None where it is no JSON object.

        Seen (2.1.330): hooks/hooks.json loads on its own; the manifest may name more files, or hold
        hooks itself. A file outside the plugin is not loaded.
        """
        standard = self.root / "hooks/hooks.json"
        if standard.is_file():
            yield standard, _read(standard)
        manifest_path = self.root / ".claude-plugin/plugin.json"
        manifest = _read(manifest_path) or {}
        for given in _listed(manifest.get("hooks")):
            if isinstance(given, dict):
                yield manifest_path, {"hooks": given.get("hooks", given)}
            elif isinstance(given, str):
                path = _inside(self.root, given)
                if path is not None and path != standard.resolve():
                    yield path, _read(path)


def enabled_plugins(places: Places, settings: Sequence[Mapping[str, Any]]) -> list[Plugin]:
    """Return the plugins that ``settings``, the least important first, switch on here."""
    switched: dict[str, bool] = {}
    for document in settings:
        chosen = document.get("enabledPlugins")
        if isinstance(chosen, dict):
            switched |= {name: value is not False for name, value in chosen.items()}
    folder = places.config / "plugins"
    installed = (_read(folder / "installed_plugins.json") or {}).get("plugins")
    if not isinstance(installed, dict):
        return []
    found = []
    for name, is_on in switched.items():
        root = _root(name, installed.get(name), places) if is_on else None
        if root is not None:
            found.append(Plugin(name, _source(folder, name) or root))
    return found


def _root(name: str, entries: Any, places: Places) -> Path | None:
    """Return where a plugin is installed for this project; later and narrower entries win."""
    root = None
    for entry in _listed(entries):
        path = entry.get("installPath") if isinstance(entry, dict) else None
        if not isinstance(path, str) or "\0" in path:
            continue
        project = entry.get("projectPath")
        if project is None or Path(str(project)) == places.project:
            root = Path(path)
    return root


def _source(folder: Path, name: str) -> Path | None:
    """Return the plugin's own folder in a marketplace that is a folder.

    Seen (2.1.330): the client reads such a plugin where it is written, not from its cache.
    """
    plugin, _, market = name.rpartition("@")
    known = (_read(folder / "known_marketplaces.json") or {}).get(market)
    if not isinstance(known, dict) or not isinstance(known.get("source"), dict):
        return None
    if known["source"].get("source") != "directory":
        return None
    root = Path(str(known.get("installLocation", "")))
    catalogue = _read(root / ".claude-plugin/marketplace.json") or {}
    for entry in _listed(catalogue.get("plugins")):
        if isinstance(entry, dict) and entry.get("name") == plugin:
            source = entry.get("source")
            if isinstance(source, str) and (root / source).is_dir():
                return (root / source).resolve()
    return None


def _inside(root: Path, given: str) -> Path | None:
    """Return a file of the plugin; None where the way leads out of it or nowhere."""
    try:
        path = (root / given).resolve()
        return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a link to itself, a NUL
        return None


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(read_regular_file(path, _LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
