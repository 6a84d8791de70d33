"""Where the client keeps its settings, and which of them win."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

# Docs, and the client's own text: the Linux folder of what an administrator decides.
MANAGED = Path("/etc/claude-code")


class Scope(StrEnum):
    """The settings files that a person may change."""

    USER = "user"
    PROJECT = "project"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Places:
    """The client's folders as one session in ``project`` would see them."""

    home: Path
    config: Path
    project: Path
    managed: Path = MANAGED

    @classmethod
    def from_environment(
        cls, project: Path | None = None, environ: Mapping[str, str] = os.environ
    ) -> "Places":
        """Read ``HOME`` and ``CLAUDE_CONFIG_DIR``; without ``project``, the current folder."""
        home = Path(environ.get("HOME") or Path.home()).absolute()
        config = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
        return cls(home, config.absolute(), (project or Path.cwd()).absolute())

    def settings(self, scope: Scope) -> Path:
        """Return the settings file of a scope, whether it exists or not."""
        if scope is Scope.USER:
            return self.config / "settings.json"
        name = "settings.json" if scope is Scope.PROJECT else "settings.local.json"
        return self.project / ".claude" / name

    def roots(self, scope: Scope) -> tuple[Path, ...]:
        """Return the folders that a scope's settings file may lie in after following links.

        A person may keep dotfiles anywhere in the home folder; a repository's files stay in it.
        """
        return (self.config, self.home) if scope is Scope.USER else (self.project,)

    def managed_files(self) -> list[Path]:
        """Return the administrator's files that exist, the later ones winning."""
        files = [self.managed / "managed-settings.json"]
        try:
            drop_ins = sorted((self.managed / "managed-settings.d").iterdir())
        except OSError:
            drop_ins = []
        files += [path for path in drop_ins if path.suffix == ".json" and path.name[0] != "."]
        return [path for path in files if path.exists()]

    @property
    def client_state(self) -> Path:
        """The client's own notes: which folders are trusted, among others."""
        inside = self.config / ".claude.json"
        return inside if self.config != self.home / ".claude" else self.home / ".claude.json"
