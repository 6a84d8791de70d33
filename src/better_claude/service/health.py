"""What the service knows of itself: which stages work, and what was counted."""

import time
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _StageHealth:
    error: str
    since_ns: int
    restarts: int


class Health:
    """How each stage is, and counters that only rise. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._stages: dict[str, _StageHealth] = {}
        self._counters: dict[str, int] = {}

    def works(self, name: str) -> bool:
        """Take note that a stage did its work; tell whether it is news."""
        stage = self._stages.get(name)
        if stage is not None and not stage.error:
            return False
        restarts = stage.restarts if stage is not None else 0
        self._stages[name] = _StageHealth("", time.time_ns(), restarts)
        return stage is not None

    def fails(self, name: str, error: str) -> bool:
        """Take note that a stage failed and will be tried again; tell whether it is news."""
        stage = self._stages.setdefault(name, _StageHealth("", 0, 0))
        stage.restarts += 1
        news = stage.error != error
        if not stage.error:
            stage.since_ns = time.time_ns()
        stage.error = error
        return news

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._counters[name] = self._counters.get(name, 0) + by

    def report(self) -> dict[str, Any]:
        """Return all of it as docs/formats.md states it for ``GET /healthz``."""
        return {
            "ok": all(not stage.error for stage in self._stages.values()),
            "stages": {
                name: {
                    "state": "failing" if stage.error else "ok",
                    "error": stage.error,
                    "since_ns": stage.since_ns,
                    "restarts": stage.restarts,
                }
                for name, stage in self._stages.items()
            },
            "counters": dict(self._counters),
        }
