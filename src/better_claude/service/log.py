"""The service's own log: what happened to it, never what passed through it."""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

_MAXIMUM_BYTES = 1 << 20
_FORMAT = "%(asctime)s %(levelname)s %(message)s"


def log_to_file(path: Path) -> None:
    """Write the log to ``path``, at most 1 MB and one older file; a full disk loses lines only."""
    handler = RotatingFileHandler(
        path, maxBytes=_MAXIMUM_BYTES, backupCount=1, encoding="utf-8", delay=True
    )
    _use(handler)


def log_to_stderr() -> None:
    """Write the log to standard error, for the service in the foreground."""
    _use(logging.StreamHandler(sys.stderr))


def _use(handler: logging.Handler) -> None:
    logging.raiseExceptions = False
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # The libraries log what a client sent them: every stray connection, and its bytes.
    for name in ("aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
