"""Make text from outside safe to print: command texts, tool names, file names.

A hook's command can hold anything. Printed raw it could move the cursor, set a window title, hide
itself behind a right-to-left override or forge a line of our own output.
"""

import re

# ECMA-48 control sequences (CSI), then strings that run to ST or BEL (OSC, DCS, APC, PM, SOS), then
# two-byte escapes; each in its 7-bit and its C1 form.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)


def clean(text: str) -> str:
    """Return ``text`` on one line without escape sequences and unprintable characters.

    White space of any kind becomes a space; whatever else ``str.isprintable`` refuses (control and
    format characters, bidirectional overrides, lone surrogates) is left out.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, _ESCAPES.sub("", text)))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else ""


def escape_unprintable(json_text: str) -> str:
    r"""Return JSON with unprintable characters as ``\uXXXX``: the same value, inert on a terminal.

    JSON itself escapes only what is below U+0020; terminals also obey U+009B and its like.
    """
    if json_text.isprintable():
        return json_text
    return "".join(c if c.isprintable() else _escaped(c) for c in json_text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
