"""The time budget of a checkup."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from metabench.probes.base import Progress


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

    @contextmanager
    def within(self, seconds: float) -> Generator[Progress]:
        """Give the progress of a measurement that may take so long, and stop it after that.

        Progress raises TimeUp once the time is up. On the main thread of a Unix process an alarm
        also raises it between two calls of progress, so that one long step keeps to the time.
        """
        end = self.elapsed + seconds

        def tick(done: int, total: int) -> None:
            if self._report:
                self._report(min(self.elapsed, self.seconds), self.seconds)
            if self.elapsed > end and done < total:
                raise TimeUp

        with _alarm(seconds):
            yield tick


@contextmanager
def _alarm(seconds: float) -> Generator[None]:
    """Raise TimeUp after so many seconds, unless the process uses the alarm already."""
    if (
        math.isinf(seconds)
        or threading.current_thread() is not threading.main_thread()
        or not hasattr(signal, "setitimer")
        or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    ):
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
