"""The choice of the next job: one for the free device that its memory has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from metabench.grid.execution.executors.slots import Slot
from metabench.grid.execution.run_cell import Job

USABLE = 0.95  # of a device's memory; the rest is the driver's
MOST_WAITING = 64  # jobs per device that wait while a fitting one is searched for


@dataclass
class Queue:
    """Jobs not started yet; those for another device, or too large at present, wait."""

    jobs: Iterator[Job]
    slots: Sequence[Slot]
    stopped: Callable[[], bool]
    waiting: list[Job] = field(default_factory=list)

    def take(self, slot: Slot, beside: Iterable[Job]) -> Job | None:
        """Return the next job for a slot whose device already runs the jobs `beside`."""
        if self.stopped():
            return None
        running = list(beside)
        for i, job in enumerate(self.waiting):
            if self._fits(job, slot, running):
                return self.waiting.pop(i)
        while sum(job.settings["device"] == slot.device for job in self.waiting) < MOST_WAITING:
            following = next(self.jobs, None)
            if following is None or self._fits(following, slot, running):
                return following
            self.waiting.append(following)
        return None

    def _fits(self, job: Job, slot: Slot, running: Sequence[Job]) -> bool:
        """Return whether a job fits; one larger than any device gets the largest device alone."""
        if job.settings["device"] != slot.device:
            return False
        free = USABLE * slot.bytes - sum(each.need for each in running)
        largest = max(each.bytes for each in self.slots if each.device == slot.device)
        return job.need <= free or (not running and slot.bytes == largest)
