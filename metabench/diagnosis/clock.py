"""How much time is there, and how much is left?"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from metabench.probes.base import Progress
from metabench.settings.errors import Misuse

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Late(Exception):
    """Raised out of a measurement whose time is up."""


class Clock:
    """Counts down from a number of seconds; `say` hears (seconds gone, seconds in all)."""

    def __init__(self, seconds: float, say: Callable[[float, float], None] | None = None) -> None:
        """Begin now."""
        self.seconds, self._say = seconds, say
        self._begun = time.monotonic()

    @property
    def gone(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        """Seconds to the end, 0 or more."""
        return max(self.seconds - self.gone, 0.0)

    def within(self, seconds: float) -> Progress:
        """Give the progress of a measurement that may take so long; it raises Late after that."""
        end = self.gone + seconds

        def tick(done: int, total: int) -> None:
            if self._say:
                self._say(min(self.gone, self.seconds), self.seconds)
            if self.gone > end and done < total:
                raise Late

        return tick


def parse(text: str) -> float:
    """Read a duration.

    >>> parse("3m"), parse("90s")
    (180.0, 90.0)

    Raises:
        Misuse: if it is none, or not positive.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh])\s*", text)
    if not found or not float(found[1]) > 0:
        raise Misuse(f"--budget takes a duration, such as 90s, 3m or 1h; given {text!r}.")
    return float(found[1]) * UNITS[found[2]]
