"""The time budget of a checkup."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from metabench.probes.base import Progress

AGAIN = 0.5  # seconds between alarms after the first: Python drops what a destructor raises


class TimeUp(BaseException):
    """A measurement has used up its time; no `except Exception` of a user's code swallows it."""


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


class Limit:
    """The time of one measurement, which an alarm ends unless the process uses alarms already."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Prepare a time limit in seconds, which starts on entry."""
        self._clock, self._seconds = clock, seconds
        self._end = math.inf
        self._alarmed = False

    def __enter__(self) -> Progress:
        """Start the time."""
        self._end = self._clock.elapsed + self._seconds
        self._alarmed = math.isfinite(self._seconds) and _alarms_are_free()
        if self._alarmed:
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, max(self._seconds, 1e-3), AGAIN)
        return self._tick

    def __exit__(self, *raised: object) -> None:
        """Stop the alarm."""
        if self._alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _tick(self, done: int, total: int) -> None:
        self._clock.report()
        if self._clock.elapsed > self._end and done < total:
            raise TimeUp

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Raise TimeUp, but not where the alarm is being set or stopped: it would stay set."""
        if frame is None or frame.f_code not in HERE:
            raise TimeUp


HERE = (Limit.__enter__.__code__, Limit.__exit__.__code__)


def _alarms_are_free() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "setitimer")
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )
