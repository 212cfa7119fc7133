"""Handling of Ctrl-C and of the end of a job's time limit."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from types import FrameType


class Stop(AbstractContextManager["Stop"]):
    """Context in which a first SIGINT or SIGTERM sets `asked`; the second raises."""

    asked = False

    def __enter__(self) -> Stop:
        """Install the handler for both signals."""
        self._before = {
            s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
