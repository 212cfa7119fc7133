"""The time budget of a checkup."""

from __future__ import annotations

import time
from collections.abc import Callable

from metabench.probes.base import Progress


class TimeUp(Exception):
    """A measurement has used up its time."""


class Clock:
    """Time budget in seconds; `report` is called with (seconds elapsed, seconds in all)."""

    def __init__(
        self, seconds: float, report: Callable[[float, float], None] | None = None
    ) -> None:
        """Start the clock."""
        self.seconds, self._report = seconds, report
        self._begun = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        """Remaining seconds, 0 or more."""
        return max(self.seconds - self.elapsed, 0.0)

    def within(self, seconds: float) -> Progress:
        """Give the progress of a measurement that may take so long; it raises Late after that."""
        end = self.elapsed + seconds

        def tick(done: int, total: int) -> None:
            if self._report:
                self._report(min(self.elapsed, self.seconds), self.seconds)
            if self.elapsed > end and done < total:
                raise TimeUp

        return tick
