"""The seam between judging code and time."""

import time
from typing import Protocol


class Clock(Protocol):
    """What a stage may ask about time."""

    def wall_ns(self) -> int:
        """Return nanoseconds since the Unix epoch; may jump either way."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds from an arbitrary start; never goes back."""


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        """Return ``CLOCK_REALTIME`` in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return ``CLOCK_MONOTONIC`` in nanoseconds."""
        return time.monotonic_ns()
