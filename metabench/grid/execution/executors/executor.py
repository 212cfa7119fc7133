"""What an executor is: from jobs to outcomes, in whatever processes; nothing it knows is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator

from metabench.grid.execution.run_cell import Job, Outcome


class Broken(OSError):
    """No worker can be started: the environment, not a cell, has to be mended."""


class Executor(ABC):
    """Settings are dataclass fields; jobs are taken when there is room for them, never ahead.

    An executor takes the next job from the iterable only when a worker is free. When the iterable
    ends, early too, it finishes what is in hand; that is all an interrupt needs.
    """

    @abstractmethod
    def run(
        self, jobs: Iterable[Job], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Outcome]:
        """Measure every job, and yield what became of each as it ends.

        What was taken but not begun is dropped once `stopped` says so.
        """

    @abstractmethod
    def alone(self) -> Executor:
        """Give the executor that measures one job at a time, with the machine to itself."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Count the jobs that it measures together, for the time left."""
