"""Counts of a grid's progress, printed as one line."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field

from metabench.grid.execution.run_cell import Outcome


@dataclass
class Tally:
    """Progress of a grid: cells done, open and failed."""

    done: int  # cells with a result
    to_go: int  # cells not yet measured
    failed: dict[str, Outcome] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    ended: int = 0  # cells and parts of cells that ended in this run
    gained: int = 0  # those of them with a result
    parts: int = 0  # parts of split cells that are not measured yet
    interrupted: bool = False
    by: int = 0  # the signal that interrupted it

    @property
    def near_limit(self) -> bool:
        """Whether it was interrupted by Slurm's warning."""
        return self.by == signal.SIGUSR1

    def count_cell(self, outcome: Outcome) -> None:
        """Count a cell that ended; if it was retried, its last outcome counts."""
        self.ended += 1
        if outcome.digest in self.failed:
            del self.failed[outcome.digest]
        else:
            self.to_go -= 1
        if outcome.failed:
            self.failed[outcome.digest] = outcome
        else:
            self.done += 1
            self.gained += 1

    def count_part(self) -> None:
        """Count a part of a split cell that was measured."""
        self.ended += 1
        self.gained += 1
        self.parts -= 1

    def __str__(self) -> str:
        """Write one line: 9,812 done, 188 to go, 14 min left."""
        line = [f"{self.done:,} done", f"{self.to_go:,} to go"]
        if self.parts:
            line.append(f"{self.parts:,} parts of cells to go")
        if self.ended and self.to_go:
            rate = (time.monotonic() - self.begun) / self.ended
            line.append(f"{duration(rate * (self.to_go + self.parts))} left")
        if self.failed:
            line.append(f"{len(self.failed):,} failed")
        return ", ".join(line)


def duration(seconds: float) -> str:
    """Write a duration in its natural unit.

    >>> duration(30), duration(840), duration(9000)
    ('30 s', '14 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
