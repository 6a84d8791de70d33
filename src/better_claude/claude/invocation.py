"""The client's command line, as far as its settings and its sessions are concerned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from better_claude.claude.places import Scope
from better_claude.claude.settings.jsontext import parse_object

# `claude --help` (2.1.330), and older ones: words that start no session, and after which
# `--settings` is an unknown option.
SUBCOMMANDS = frozenset(
    (
        *("agents", "attach", "auth", "auto-mode", "config", "doctor", "gateway", "import"),
        *("install", "kill", "logs", "mcp", "migrate-installer", "plugin", "plugins", "purge"),
        *("remote-control", "respawn", "rm", "setup-token", "stop", "ultrareview", "update"),
        "upgrade",
    )
)
_SETTINGS = "--settings"
_SOURCES = "--setting-sources"


@dataclass(frozen=True, slots=True)
class Invocation:
    """A program and its arguments."""

    program: str
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> "Invocation":
        """Take a command line apart; no words at all mean ``claude``."""
        program, *arguments = words or ("claude",)
        return cls(program, tuple(arguments))

    @property
    def takes_settings(self) -> bool:
        """Whether ``--settings`` can be put right behind the program."""
        is_client = Path(self.program).name.startswith("claude")
        return is_client and not (self.arguments and self.arguments[0] in SUBCOMMANDS)

    @property
    def is_print(self) -> bool:
        """Whether the session is not interactive: the client then asks nobody to trust a folder."""
        return any(word in ("-p", "--print") for word in self._options())

    @property
    def sources(self) -> frozenset[Scope]:
        """The settings files that this session reads."""
        if "--restricted" in self._options():
            return frozenset()
        named = self._value(_SOURCES)
        return frozenset(
            scope
            for scope in Scope
            if named is None or scope.value in named.replace(" ", "").split(",")
        )

    def own_settings(self, folder: Path) -> dict[str, Any]:
        """Return what the user passes with ``--settings``, a file or JSON; {} without it.

        ``folder`` is what relative paths start from. Raises OSError or ValueError for what cannot
        be read, which the client will tell in its own way.
        """
        given = self._value(_SETTINGS)
        if given is None:
            return {}
        text = given.strip()
        if not (text.startswith("{") and text.endswith("}")):
            path = folder / Path(given).expanduser()
            with path.open("rb") as file:
                text = file.read(1 << 22).decode("utf-8")
        return parse_object(text)

    def with_settings(self, document: Path) -> "Invocation":
        """Return the same call with ``document`` as its only ``--settings``."""
        arguments: list[str] = []
        rest = iter(self.arguments)
        for word in rest:
            if word == "--":
                arguments += [word, *rest]
            elif word == _SETTINGS:
                next(rest, None)
            elif not word.startswith(f"{_SETTINGS}="):
                arguments.append(word)
        return replace(self, arguments=(_SETTINGS, str(document), *arguments))

    def _options(self) -> tuple[str, ...]:
        words = self.arguments
        return words[: words.index("--")] if "--" in words else words

    def _value(self, option: str) -> str | None:
        """Return the last value of an option, as the client does, None without it."""
        value = None
        words = self._options()
        for place, word in enumerate(words):
            if word == option and place + 1 < len(words):
                value = words[place + 1]
            elif word.startswith(f"{option}="):
                value = word[len(option) + 1 :]
        return value
