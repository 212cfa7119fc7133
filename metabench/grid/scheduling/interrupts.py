"""Handling of Ctrl-C, and of the warning that a job's time limit is near."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is Slurm's warning


class Stop(AbstractContextManager["Stop"]):
    """Context in which a first of SIGNALS sets `asked` and `by`; the second raises."""

    asked = False
    by = 0  # number of the first signal

    def __enter__(self) -> Stop:
        """Install the handler for both signals."""
        self._before = {s: signal.signal(s, self._on_signal) for s in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.by = True, number
