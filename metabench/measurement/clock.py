"""The time budget of a command."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from metabench.probes.base import Progress
from metabench.settings.alarms import Alarm, TimeUp


class Clock:
    """Time budget in seconds; `report` is called with (seconds elapsed, seconds in all)."""

    def __init__(
        self,
        seconds: float,
        report: Callable[[float, float], None] | None = None,
        begun: float | None = None,
    ) -> None:
        """Start the clock.

        Args:
            seconds: the budget.
            report: called with the seconds elapsed and in all.
            begun: reading of `time.monotonic` at which the budget began; None is now.
        """
        self.seconds, self._report = seconds, report
        self._begun = time.monotonic() if begun is None else begun

    def reporting(self, report: Callable[[int, int], None]) -> Clock:
        """Return the same clock with a function to report to, of whole thousandths of seconds."""
        return Clock(
            self.seconds,
            lambda gone, total: report(int(1000 * gone), int(1000 * total)),
            self._begun,
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        """Remaining seconds, 0 or more."""
        return max(self.seconds - self.elapsed, 0.0)

    def within(self, seconds: float) -> Limit:
        """Give the progress of a measurement that may take so long, and stop it after that.

        Progress raises TimeUp once the time is up. On the main thread of a Unix process an alarm
        also raises it between two calls of progress, so that one long step keeps to the time.
        """
        return Limit(self, seconds)

    def report(self) -> None:
        """Report the seconds elapsed and in all."""
        if self._report:
            self._report(min(self.elapsed, self.seconds), self.seconds)


class Limit(Alarm):
    """The time of one measurement, whose progress also ends it."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Prepare a time limit in seconds, which starts on entry."""
        super().__init__(seconds)
        self._clock, self._limit, self._end = clock, seconds, math.inf

    def __enter__(self) -> Progress:
        """Start the time."""
        self._end = self._clock.elapsed + self._limit
        super().__enter__()
        return self._tick

    def _tick(self, done: int, total: int) -> None:
        self._clock.report()
        if self._clock.elapsed > self._end and done < total:
            raise TimeUp
