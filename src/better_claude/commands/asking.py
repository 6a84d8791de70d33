"""Ask a person before something is written or removed."""

import sys


def agrees(question: str) -> bool:
    """Print ``question`` on standard error and return whether the answer is yes.

    An end of the input (^D) is a no.
    """
    sys.stdout.flush()
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
