"""Give a hook's command line the name that a person would call it by."""

import re
import shlex
from collections.abc import Iterator, Sequence

NAME_LENGTH = 64
UNNAMED = "unnamed"

# A name stands near the beginning; shlex takes a minute for a word of a megabyte.
_READ_LENGTH = 4096

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_OPERATOR = re.compile(r"[();|&]+")
_REDIRECTION = re.compile(r"[<>]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ufffd]+")
_PYTHON = re.compile(r"(?:python|pypy)[0-9.]*w?")

# Programs that only prepare the ground for the one that matters.
_PREPARATIONS = frozenset(
    [
        "cd",
        "set",
        "export",
        "source",
        ".",
        "true",
        ":",
        "test",
        "[",
        "[[",
        "fi",
        "for",
        "done",
        "case",
        "esac",
        "}",
        "unset",
        "umask",
        "ulimit",
        "trap",
        "local",
        "readonly",
        "return",
        "exit",
        "eval",
        "read",
    ]
)
# Words of the shell's grammar that stand before a command.
_KEYWORDS = frozenset(["if", "then", "else", "elif", "do", "while", "until", "!", "{"])
# Programs that run another one; the options that take a word of their own.
_WRAPPERS: dict[str, frozenset[str]] = {
    "env": frozenset(("-u", "--unset", "-C", "--chdir")),
    "exec": frozenset(("-a",)),
    "command": frozenset(),
    "nohup": frozenset(),
    "setsid": frozenset(),
    "time": frozenset(),
    "nice": frozenset(("-n", "--adjustment")),
    "ionice": frozenset(("-c", "-n", "--class", "--classdata")),
    "stdbuf": frozenset(("-i", "-o", "-e")),
    "timeout": frozenset(("-s", "--signal", "-k", "--kill-after")),
    "sudo": frozenset(("-u", "-g", "--user", "--group")),
    "npx": frozenset(("-p", "--package")),
    "bunx": frozenset(("-p", "--package")),
    "uvx": frozenset(("--from", "--with", "--python", "-p")),
}
# Tools whose first word says that another program follows.
_RUNNERS: dict[str, frozenset[str]] = {
    "uv": frozenset(("run",)),
    "uv tool": frozenset(("run",)),
    "poetry": frozenset(("run",)),
    "pipx": frozenset(("run",)),
    "pdm": frozenset(("run",)),
    "hatch": frozenset(("run",)),
    "npm": frozenset(("run", "exec", "x", "run-script")),
    "pnpm": frozenset(("run", "exec", "dlx")),
    "yarn": frozenset(("run", "exec", "dlx")),
    "bun": frozenset(("run", "x")),
    "deno": frozenset(("run",)),
}
_RUNNER_OPTIONS = frozenset(
    ("--with", "--python", "-p", "--project", "--directory", "--extra", "--group", "--package")
)
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "fish", "busybox"))
_INTERPRETERS = frozenset(
    [
        "node",
        "nodejs",
        "ruby",
        "perl",
        "php",
        "lua",
        "Rscript",
        "osascript",
        "pwsh",
        "powershell",
        "tsx",
        "ts-node",
    ]
)
_INTERPRETER_OPTIONS = frozenset(
    ("-W", "-X", "-r", "--require", "--import", "--loader", "-o", "-I", "--env-file")
)
_INLINE = frozenset(
    ("-c", "-e", "--eval", "-p", "--print", "-lc", "-ec", "-ic", "-euc", "-Command")
)


def hook_name(command: str) -> str:
    """Return the script or program that ``command`` is about, at most 64 characters.

    ``python3 ~/.claude/hooks/guard.py --strict`` is ``guard.py``, ``npx -y foo`` is ``foo``,
    ``bash -c 'FOO=1 check x'`` is ``check``. Where nothing can be made out it is the first word,
    and ``unnamed`` for a command without words.
    """
    command = command[:_READ_LENGTH]
    name = _name(command, depth=0) or next(iter(command.split()), "")
    return _UNPRINTABLE.sub("", name)[:NAME_LENGTH] or UNNAMED


def _name(command: str, depth: int) -> str:
    for words in _simple_commands(command):
        name = _program(words, depth)
        if name:
            return name
    return ""


def _simple_commands(command: str) -> Iterator[list[str]]:
    words: list[str] = []
    for word in _words(command):
        if _OPERATOR.fullmatch(word):
            yield words
            words = []
        else:
            words.append(word)
    yield words


def _words(command: str) -> list[str]:
    # A line break ends a command just as `;` does, but shlex takes it for a blank.
    lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        return list(lexer)
    except ValueError:  # an open quote: take the words as they stand
        return command.replace('"', "").replace("'", "").split()


def _program(words: Sequence[str], depth: int) -> str:
    """Return what one simple command runs, empty if it only prepares the ground."""
    rest = _without_prefix(words)
    while rest:
        first, rest = rest[0], rest[1:]
        program = _base(first)
        if program in _PREPARATIONS:
            return ""
        if program in _WRAPPERS:
            rest = _wrapped(program, rest)
        elif program in _RUNNERS and rest and rest[0] in _RUNNERS[program]:
            rest = _after_options(rest[1:], _RUNNER_OPTIONS)
        elif program in _SHELLS or program in _INTERPRETERS or _PYTHON.fullmatch(program):
            return _script(program, rest, depth)
        else:
            return program
        if not rest:
            return program
    return ""


def _without_prefix(words: Sequence[str]) -> list[str]:
    """Drop the keywords, assignments and redirections that stand before a program."""
    rest = list(words)
    while rest:
        if _REDIRECTION.fullmatch(rest[0]):
            rest = rest[2:]
        elif rest[0] in _KEYWORDS or _ASSIGNMENT.match(rest[0]):
            rest = rest[1:]
        else:
            break
    return rest


def _wrapped(program: str, words: Sequence[str]) -> list[str]:
    rest = _without_prefix(_after_options(words, _WRAPPERS[program]))
    return rest[1:] if program == "timeout" else rest


def _after_options(words: Sequence[str], valued: frozenset[str]) -> list[str]:
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option, rest = rest[0], rest[1:]
        if option == "--":
            break
        if option in valued:
            rest = rest[1:]
    return rest


def _script(program: str, words: Sequence[str], depth: int) -> str:
    """Return the script that an interpreter runs, or the interpreter's own name."""
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        option, rest = rest[0], rest[1:]
        if option == "-m" and rest:
            return rest[0]
        if option in _INLINE:
            inner = rest[0] if rest and program in _SHELLS and depth < 4 else ""
            return _name(inner, depth + 1) or program
        if option in _INTERPRETER_OPTIONS or (program in _SHELLS and option.endswith("o")):
            rest = rest[1:]
    if not rest or rest[0] == "-" or _REDIRECTION.fullmatch(rest[0]):
        return program
    return _base(rest[0])


def _base(word: str) -> str:
    return word.rstrip("/").rpartition("/")[2] or word
