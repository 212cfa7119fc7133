"""How much time is there, and how much is left?"""

from __future__ import annotations

import time
from collections.abc import Callable

from metabench.probes.base import Progress


class TimeUp(Exception):
    """Raised out of a measurement whose time is up."""


class Clock:
    """Counts down from a number of seconds; `say` hears (seconds gone, seconds in all)."""

    def __init__(self, seconds: float, say: Callable[[float, float], None] | None = None) -> None:
        """Begin now."""
        self.seconds, self._say = seconds, say
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        """Seconds to the end, 0 or more."""
        return max(self.seconds - self.elapsed, 0.0)

    def within(self, seconds: float) -> Progress:
        """Give the progress of a measurement that may take so long; it raises Late after that."""
        end = self.elapsed + seconds

        def tick(done: int, total: int) -> None:
            if self._say:
                self._say(min(self.elapsed, self.seconds), self.seconds)
            if self.elapsed > end and done < total:
                raise TimeUp

        return tick
