"""Which program and which script a hook's command starts, as far as that can be told."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
# A program stands near the beginning; shlex takes a minute for a word of a megabyte.
_READ_LENGTH = 4096
_OPERATORS = frozenset("();<>|&\n")
# Commands that ask whether something is there, or go elsewhere: what follows may be meant so.
_CONDITIONAL = re.compile(r"\|\||(?:^|[;&(\n\s])(?:if|test|\[|\[\[|command|which|type|cd|pushd)\s")
_BUILTINS = frozenset(
    (
        *(".", ":", "[", "[[", "alias", "bg", "break", "builtin", "case", "cd", "command"),
        *("continue", "declare", "do", "done", "echo", "elif", "else", "esac", "eval", "exec"),
        *("exit", "export", "false", "fi", "for", "function", "getopts", "hash", "if", "in"),
        *("jobs", "kill", "let", "local", "printf", "pwd", "read", "readonly", "return", "set"),
        *("shift", "source", "test", "then", "time", "times", "trap", "true", "type", "typeset"),
        *("ulimit", "umask", "unalias", "unset", "until", "wait", "while", "{", "}"),
    )
)
# Interpreters, how each does nothing, and options that take a word of their own.
NO_OPERATION: Mapping[str, tuple[str, ...]] = {
    "bash": ("-c", ":"),
    "bun": ("-e", "0"),
    "dash": ("-c", ":"),
    "deno": ("eval", "0"),
    "ksh": ("-c", ":"),
    "node": ("-e", "0"),
    "npx": ("--version",),
    "perl": ("-e", "0"),
    "php": ("-r", "0;"),
    "pypy": ("-c", ""),
    "python": ("-c", ""),
    "ruby": ("-e", "0"),
    "sh": ("-c", ":"),
    "tsx": ("-e", "0"),
    "uv": ("--version",),
    "uvx": ("--version",),
    "zsh": ("-c", ":"),
}
_RUNS_OTHERS = frozenset(("npx", "uv", "uvx"))
_CODE_OPTIONS = ("-c", "-e", "-m", "-r", "--eval", "--print", "-p", "-E", "eval")
_VALUED = {
    "node": frozenset(("--require", "--import", "--loader", "-r", "-C", "--conditions")),
    "python": frozenset(("-W", "-X")),
}
_WRAPPERS = frozenset(("env", "exec", "nice", "nohup", "time", "command"))


class Trouble(Enum):
    """What is wrong with a file that a hook wants to run."""

    MISSING = "does not exist"
    NOT_EXECUTABLE = "is not executable"
    IS_FOLDER = "is a folder"
    NOT_IN_PATH = "is not in PATH"


@dataclass(frozen=True, slots=True)
class Start:
    """What one hook starts: the interpreter's name, if any, and the files it needs."""

    interpreter: str
    files: tuple[Path, ...]
    troubles: tuple[tuple[str, Trouble], ...]


def read_command(command: str, variables: Mapping[str, str], folder: Path) -> Start:
    """Read a shell-form command that the client starts in ``folder``.

    Only what stands plainly in the command is judged: what a variable or a condition decides is
    left alone, because a wrong alarm costs more than a missed one.
    """
    words = _first_command(command)
    expanded = [_expand(word, variables) for word in words]
    return _start(expanded, folder, bool(_CONDITIONAL.search(command)))


def read_arguments(words: Sequence[str], variables: Mapping[str, str], folder: Path) -> Start:
    """Read an exec-form hook, whose words no shell touches."""
    return _start([_expand(word, variables) for word in words], folder, is_conditional=False)


def interpreter_of(program: str) -> str:
    """Return the plain name of an interpreter, ``python3.12`` being ``python``; else empty."""
    name = Path(program).name
    plain = re.sub(r"[\d.]+$", "", name)
    return plain if plain in NO_OPERATION else ""


def _first_command(command: str) -> list[str]:
    """Return the first simple command's words, without assignments and wrappers."""
    lexer = shlex.shlex(command[:_READ_LENGTH], posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace = " \t\r"
    lexer.commenters = ""
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for token in lexer:
            if set(token) <= _OPERATORS:
                if words:
                    break
                continue
            if not words and (_ASSIGNMENT.match(token) or token in _WRAPPERS):
                continue
            words.append(token)
    except ValueError:
        return []
    return words


def _expand(word: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return variables.get(name, match[0])

    if word == "~" or word.startswith("~/"):
        word = variables.get("HOME", "~") + word[1:]
    return _VARIABLE.sub(value, word)


def _start(words: list[str], folder: Path, is_conditional: bool) -> Start:
    if not words or _is_unknown(words[0]):
        return Start("", (), ())
    program, *rest = words
    interpreter = interpreter_of(program)
    files: list[Path] = []
    troubles: list[tuple[str, Trouble]] = []
    for path, trouble in _needed(program, interpreter, rest, folder):
        files += [path] if path is not None else []
        if trouble is not None and not is_conditional:
            troubles.append((str(path or program), trouble))
    return Start(interpreter, tuple(files), tuple(troubles))


def _needed(
    program: str, interpreter: str, rest: Sequence[str], folder: Path
) -> Iterator[tuple[Path | None, Trouble | None]]:
    if "/" in program:
        path = folder / program
        yield path, _trouble(path, is_program=True)
    elif program not in _BUILTINS and shutil.which(program) is None:
        yield None, Trouble.NOT_IN_PATH
    script = _script(interpreter, rest)
    if script:
        yield folder / script, _trouble(folder / script, is_program=False)


def _script(interpreter: str, rest: Sequence[str]) -> str:
    """Return the script that an interpreter is given, empty where it gets code or a module."""
    if not interpreter or interpreter in _RUNS_OTHERS:
        return ""
    words = iter(rest)
    for word in words:
        if word in _CODE_OPTIONS:
            return ""
        if word in _VALUED.get(interpreter, frozenset()):
            next(words, None)
        elif not word.startswith("-") and not (interpreter in ("deno", "bun") and word == "run"):
            named = "/" in word or "." in word
            return word if named and not _is_unknown(word) else ""
    return ""


def _is_unknown(word: str) -> bool:
    return "$" in word or "`" in word or any(c in word for c in "*?[")


def _trouble(path: Path, *, is_program: bool) -> Trouble | None:
    if not path.exists():
        return Trouble.MISSING
    if path.is_dir():
        return Trouble.IS_FOLDER
    if is_program and not os.access(path, os.X_OK):
        return Trouble.NOT_EXECUTABLE
    return None
