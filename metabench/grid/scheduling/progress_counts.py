"""How far is a grid, in one line?"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from metabench.grid.execution.run_cell import Outcome


@dataclass
class Tally:
    """How far a grid is: what a person watches, and what the last line sums up."""

    done: int  # cells with a result
    to_go: int  # cells not yet measured
    failed: dict[str, Outcome] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    heard: int = 0  # cells, and shares of cells, that ended in this run
    shares: int = 0  # shares of cells that are still to be measured
    interrupted: bool = False

    def hear(self, outcome: Outcome) -> None:
        """Count a cell that ended; one that ends twice is counted by its last end."""
        self.heard += 1
        if outcome.digest in self.failed:
            del self.failed[outcome.digest]
        else:
            self.to_go -= 1
        if outcome.failed:
            self.failed[outcome.digest] = outcome
        else:
            self.done += 1

    def hear_share(self) -> None:
        """Count a share of a cell that was measured."""
        self.heard += 1
        self.shares -= 1

    def __str__(self) -> str:
        """Say it in one line: 9,812 done, 188 to go, 14 min left."""
        parts = [f"{self.done:,} done", f"{self.to_go:,} to go"]
        if self.shares:
            parts.append(f"{self.shares:,} shares of cells to go")
        if self.heard and self.to_go:
            rate = (time.monotonic() - self.begun) / self.heard
            parts.append(f"{duration(rate * (self.to_go + self.shares))} left")
        if self.failed:
            parts.append(f"{len(self.failed):,} failed")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Say a time the way people do.

    >>> duration(30), duration(840), duration(9000)
    ('30 s', '14 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
