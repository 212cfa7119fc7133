"""Tasks of each outer step, by address: step n sees the same tasks after any restart."""

from __future__ import annotations

from metabench.estimation.estimator_on_tasks import Subject
from metabench.outer_loop.task_batch import Batch, DrawnTasks
from metabench.problems.samplers import Indexed, Stream
from metabench.problems.tasks import Address

FIRST_HELD_OUT_TASK = 2**40  # beyond the tasks of any training
BYTES_DRAWN_AHEAD = (
    2**20
)  # bytes of tasks that are drawn together: beside so many, a draw's calls cost little
MOST_STEPS_DRAWN_AHEAD = (
    256  # steps that are drawn together: beyond this a draw costs its arithmetic alone
)


class TaskStream:
    """Draws the tasks of outer steps, many steps at once to save calls.

    Step n sees the tasks first + n B .. first + (n + 1) B - 1 of the seed.
    """

    def __init__(self, subject: Subject, seed: int, batch: int, first: int = 0) -> None:
        """Start a stream; tasks are drawn when first read.

        Args:
            subject: its sampler draws the tasks.
            seed: of the tasks.
            batch: B, tasks per outer step.
            first: index of the first task.
        """
        self._subject, self._seed, self._batch, self._first = subject, seed, batch, first
        self._start = self._stop = 0  # the steps that are held
        self._ahead = 1
        self._held: DrawnTasks

    def address(self, step: int) -> Address:
        """Return the addresses of one step's tasks."""
        return Address.fresh(self._first + step * self._batch, self._batch)

    def __call__(self, step: int, last: int) -> Batch:
        """Return the tasks of one step; later steps below `last` may be drawn with it."""
        if not self._start <= step < self._stop:
            self._draw(step, max(min(self._ahead, last - step), 1))
        return Batch(self._held, step - self._start)

    def _draw(self, step: int, steps: int) -> None:
        B = self._batch
        address = Address.fresh(self._first + step * B, steps * B)
        self._held = DrawnTasks(self._subject.draw(address, self._seed), B)
        self._start, self._stop = step, step + steps
        self._ahead = max(
            1, min(MOST_STEPS_DRAWN_AHEAD, BYTES_DRAWN_AHEAD * steps // max(self._held.bytes, 1))
        )


def training_and_held_out(subject: Subject, held_out: int) -> tuple[int, Address]:
    """Return the index of the first training task, and the addresses of the held-out tasks.

    A `Stream` or `Indexed` may not reach far task indices, so its first tasks are held out.
    """
    if isinstance(subject.sample, Stream | Indexed):
        return held_out, Address.fresh(0, held_out)
    return 0, Address.fresh(FIRST_HELD_OUT_TASK, held_out)
