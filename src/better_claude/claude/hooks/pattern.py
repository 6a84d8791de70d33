"""Whether JavaScript, in which the client is written, can read a regular expression.

ECMA-262 22.2.1 with Annex B and without the ``u`` flag: the client calls ``new RegExp(matcher)``.
Python's own ``re`` would refuse ``(?<name>a)`` and take ``(?P<name>a)``, ``(?i)`` and ``a*+``: the
other way round. Compared with node over 60,000 random patterns; modifiers ``(?i:`` as the client.
"""

import re

_COUNT = re.compile(r"\{(\d+)(,(\d*))?\}")
_NAME = re.compile(r"(?:[^\W\d]|\$)[\w$]*>")
_MODIFIERS = re.compile(r"[ims]*(?:-[ims]*)?:")
_DEEPEST = 100


class PatternError(ValueError):
    """Why a pattern is broken, as the client's engine would put it."""


def check_pattern(pattern: str) -> None:
    """Raise PatternError if JavaScript could not compile ``pattern``."""
    _Reader(pattern).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.names: set[str] = set()

    def read(self) -> None:
        self._alternatives()
        if self.at < len(self.text):
            raise PatternError("a ) without its (")

    def _alternatives(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise PatternError("nested too deeply")
        while self.at < len(self.text) and self.text[self.at] != ")":
            if self.text[self.at] == "|":
                self.at += 1
            else:
                self._quantifier(self._term())
        self.depth -= 1

    def _term(self) -> bool:
        """Read one term; tell whether it may be repeated."""
        character = self.text[self.at]
        if character in "*+?" or _COUNT.match(self.text, self.at):
            raise PatternError(f"nothing to repeat before {self.text[self.at :][:3]!r}")
        if character == "(":
            return self._group()
        if character == "[":
            self._set()
        elif character == "\\":
            return self._escape()
        else:
            self.at += 1
        return character not in "^$"

    def _quantifier(self, repeatable: bool) -> None:
        count = _COUNT.match(self.text, self.at)
        if count is None and self.text[self.at : self.at + 1] not in ("*", "+", "?"):
            return
        if self.at >= len(self.text):
            return
        if not repeatable:
            raise PatternError(f"nothing to repeat before {self.text[self.at]!r}")
        if count is not None and count[3] and int(count[3]) < int(count[1]):
            raise PatternError(f"numbers out of order in {count[0]}")
        self.at += len(count[0]) if count else 1
        if self.text[self.at : self.at + 1] == "?":
            self.at += 1

    def _group(self) -> bool:
        opening = self.at
        self.at += 1
        repeatable = self._group_kind()
        self._alternatives()
        if self.at >= len(self.text):
            raise PatternError(f"a ( without its ) at position {opening + 1}")
        self.at += 1
        return repeatable

    def _group_kind(self) -> bool:
        text, at = self.text, self.at
        if text[at : at + 1] != "?":
            return True
        if text.startswith(("?<=", "?<!"), at):
            self.at += 3
            return False
        if text.startswith(("?:", "?=", "?!"), at):
            self.at += 2
            return True
        if text.startswith("?<", at):
            name = _NAME.match(text, at + 2)
            if name is None or name[0] in self.names:
                raise PatternError("an invalid or repeated group name")
            self.names.add(name[0])
            self.at = name.end()
            return True
        modifiers = _MODIFIERS.match(text, at + 1)
        if modifiers is None:
            raise PatternError(f"an invalid group ({text[at : at + 3]}")
        self.at = modifiers.end()
        return True

    def _escape(self) -> bool:
        if self.at + 1 >= len(self.text):
            raise PatternError("a \\ at the end")
        escaped = self.text[self.at + 1]
        self.at += 2
        if escaped == "k" and "(?<" in self.text.replace("(?<=", "").replace("(?<!", ""):
            name = re.compile(r"<[\w$]+>").match(self.text, self.at)
            if name is None or f"(?{name[0]}" not in self.text:
                raise PatternError("an invalid named reference")
            self.at = name.end()
        return escaped not in "bB"

    def _set(self) -> None:
        opening = self.at
        self.at += 2 if self.text.startswith("[^", self.at) else 1
        low: int | None = None
        while self.at < len(self.text):
            if self.text[self.at] == "]":
                self.at += 1
                return
            is_range = self.text[self.at] == "-" and low is not None
            if is_range and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._set_member()
                if low is not None and high is not None and high < low:
                    raise PatternError("a range out of order in […]")
                low = None
            else:
                low = self._set_member()
        raise PatternError(f"a [ without its ] at position {opening + 1}")

    def _set_member(self) -> int | None:
        """Read one member of a set; None for a class such as \\d or an escape of its own."""
        character = self.text[self.at]
        self.at += 1
        if character != "\\":
            return ord(character)
        if self.at >= len(self.text):
            raise PatternError("a \\ at the end")
        escaped = self.text[self.at]
        self.at += 1
        return None if escaped.isalnum() else ord(escaped)
