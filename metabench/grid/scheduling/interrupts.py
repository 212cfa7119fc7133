"""What do Ctrl-C, and the end of a job's time, mean to a grid?"""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from types import FrameType


class Stop(AbstractContextManager["Stop"]):
    """The first Ctrl-C (or SIGTERM, of a job's end) takes no further cell; the second stops all."""

    asked = False

    def __enter__(self) -> Stop:
        """Listen to both signals."""
        self._before = {s: signal.signal(s, self._hear) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the signals as they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
