"""Replace texts that come again by small numbers."""

import sqlite3

from better_claude.hook_names import hook_name
from better_claude.model import Enforcement, Mode
from better_claude.store.codes import ENFORCEMENT_CODE, MODE_CODE

# Enough for any machine's hooks and events; a flood of invented names empties the cache instead
# of filling the memory.
CACHE_ENTRIES = 50_000

TOOL_NAME = "Bash"


def storable(text: str) -> str:
    """Return ``text`` without lone surrogates, which JSON allows and UTF-8 does not."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


class Interner:
    """The numbers of names, idents, hooks and terms, made as they are met.

    The caches hold what the current transaction has made as well: ``forget`` after a rollback.
    The empty text is always 0.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.forget()

    def forget(self) -> None:
        """Empty the caches."""
        self._names: dict[str, int] = {"": 0}
        self._idents: dict[str, int] = {"": 0}
        self._hooks: dict[tuple[str, str], int] = {}
        self._terms: dict[tuple[str, int, int], int] = {}
        self.hook_modes: dict[int, Mode] = {}

    def trim(self) -> None:
        """Empty the caches if they have grown out of bounds; call between transactions."""
        held = len(self._names) + len(self._idents) + len(self._hooks) + len(self._terms)
        if held > CACHE_ENTRIES:
            self.forget()

    def name(self, text: str) -> int:
        """Return the number of a lasting name."""
        number = self._names.get(text)
        if number is None:
            stored = storable(text)
            self._execute("INSERT OR IGNORE INTO names (text) VALUES (?)", (stored,))
            number = self._one("SELECT id FROM names WHERE text = ?", (stored,))
            self._names[text] = number
        return number

    def ident(self, text: str, time_ns: int) -> int:
        """Return the number of a passing identifier that is first met at ``time_ns``."""
        number = self._idents.get(text)
        if number is None:
            stored = storable(text)
            self._execute(
                "INSERT OR IGNORE INTO idents (text, first_ns) VALUES (?, ?)", (stored, time_ns)
            )
            number = self._one("SELECT id FROM idents WHERE text = ?", (stored,))
            self._idents[text] = number
        return number

    def terms(self, enforcement: Enforcement, timeout_ms: int, memory_limit_bytes: int) -> int:
        """Return the number of a set of limits."""
        key = (enforcement.value, timeout_ms, memory_limit_bytes)
        number = self._terms.get(key)
        if number is None:
            row = (ENFORCEMENT_CODE[enforcement], timeout_ms, memory_limit_bytes)
            columns = "enforcement, timeout_ms, memory_limit_bytes"
            self._execute(f"INSERT OR IGNORE INTO terms ({columns}) VALUES (?, ?, ?)", row)
            number = self._one(f"SELECT id FROM terms WHERE ({columns}) = (?, ?, ?)", row)
            self._terms[key] = number
        return number

    def hook(self, key: str, mode: Mode, command: str, name: str = "") -> int:
        """Return the number of a hook; ``name`` is used where there is no command."""
        number = self._hooks.get((key, mode.value))
        if number is None:
            number = self._new_hook(key, mode, command, name)
            self._hooks[key, mode.value] = number
            self.hook_modes[number] = mode
        return number

    def _new_hook(self, key: str, mode: Mode, command: str, name: str) -> int:
        called = hook_name(command) if command else name or TOOL_NAME
        self._execute(
            "INSERT OR IGNORE INTO hooks (key, mode, name, command) VALUES (?, ?, ?, ?)",
            (key, MODE_CODE[mode], storable(called), storable(command)),
        )
        return self._one("SELECT id FROM hooks WHERE key = ? AND mode = ?", (key, MODE_CODE[mode]))

    def _execute(self, sql: str, row: tuple[str | int, ...]) -> None:
        self._connection.execute(sql, row)

    def _one(self, sql: str, row: tuple[str | int, ...]) -> int:
        return int(self._connection.execute(sql, row).fetchone()[0])
