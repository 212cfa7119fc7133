"""An alarm that ends work once its time is up."""

from __future__ import annotations

import math
import signal
import sys
import threading
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

AGAIN = 0.5  # seconds between alarms after the first: Python drops what a destructor raises


class TimeUp(BaseException):
    """Work has used up its time; no `except Exception` of a user's code swallows it."""


class Alarm(AbstractContextManager[Any]):
    """Raises `TimeUp` inside its block after some seconds, between two Python instructions.

    Does nothing off the main thread, where there are no alarms, and where something else has set
    one.
    """

    def __init__(self, seconds: float) -> None:
        """Prepare an alarm after so many seconds, inf for never."""
        self._seconds, self._set = seconds, False

    def __enter__(self) -> Any:
        """Set the alarm."""
        self._set = math.isfinite(self._seconds) and _alarms_are_free()
        if self._set:
            self._hook, sys.unraisablehook = sys.unraisablehook, self._unraisable
            signal.signal(signal.SIGALRM, self._stop)
            signal.setitimer(signal.ITIMER_REAL, max(self._seconds, 1e-3), AGAIN)

    def __exit__(self, *raised: object) -> None:
        """Stop the alarm."""
        if self._set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            sys.unraisablehook = self._hook

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Raise TimeUp, but not within a method of its own: the alarm would stay set."""
        if frame is None or frame.f_locals.get("self") is not self:
            raise TimeUp

    def _unraisable(self, dropped: Any) -> None:
        """Say nothing of a TimeUp that a destructor drops: the next alarm raises it again."""
        if not isinstance(dropped.exc_value, TimeUp):
            self._hook(dropped)


def _alarms_are_free() -> bool:
    return (
        threading.current_thread() is threading.main_thread()
        and hasattr(signal, "setitimer")
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )
