"""Which job next? One for the device that is free, and that its memory has room for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from metabench.grid.execution.executors.slots import Slot
from metabench.grid.execution.run_cell import Job

USABLE = 0.95  # of a device's memory; the rest is the driver's
AHEAD = 64  # most jobs kept aside for a device, while one that fits is looked for


@dataclass
class Queue:
    """Jobs not yet begun; those for another kind of device, or too large for now, wait aside."""

    jobs: Iterator[Job]
    slots: Sequence[Slot]
    stopped: Callable[[], bool]
    aside: list[Job] = field(default_factory=list)

    def take(self, slot: Slot, beside: Iterable[Job]) -> Job | None:
        """Take the next job for a slot whose device is measuring the jobs `beside` it."""
        if self.stopped():
            return None
        running = list(beside)
        for i, job in enumerate(self.aside):
            if self._fits(job, slot, running):
                return self.aside.pop(i)
        while sum(job.settings["device"] == slot.device for job in self.aside) < AHEAD:
            following = next(self.jobs, None)
            if following is None or self._fits(following, slot, running):
                return following
            self.aside.append(following)
        return None

    def _fits(self, job: Job, slot: Slot, running: Sequence[Job]) -> bool:
        """Tell whether there is room; what needs more than there is goes to the largest, alone."""
        if job.settings["device"] != slot.device:
            return False
        free = USABLE * slot.bytes - sum(each.need for each in running)
        largest = max(each.bytes for each in self.slots if each.device == slot.device)
        return job.need <= free or (not running and slot.bytes == largest)
