"""Tasks from elsewhere: a plain `sample(indices, seed)`, an iterable, a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from metabench.problems.tasks import Address, Sampler, Task, tree_map
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Indexed:
    """Call a plain `sample(indices, seed)`, which gives (support, query) with a leading T.

    The same index and seed must give the same task, whichever others are drawn with it.
    """

    sample: Callable[[NDArray[np.int64], int], Any]

    withheld: ClassVar[str] = (
        "this sampler draws by task index alone, so a task's support, query and labels can't be "
        "redrawn apart; what needs redraws takes sample(address, seed)"
    )

    def __call__(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks, each in its first draw."""
        _refuse_redraws(address, self.withheld)
        return as_task(self.sample(address.task, seed))


class Stream:
    """Hand out the tasks (support, query) of an iterable or DataLoader, task i the i-th it gave.

    Tasks are kept in memory once drawn, so that every algorithm meets the same ones; the seed
    changes nothing. An iterable that repeats itself makes tasks that aren't independent.
    """

    withheld: ClassVar[str] = (
        "tasks come from a stream, so a task's support, query and labels can't be redrawn apart; "
        "what needs redraws takes sample(address, seed)"
    )

    def __init__(self, tasks: Iterable[Any], batched: bool | None = None) -> None:
        """Begin a stream.

        Args:
            tasks: it gives (support, query), one task at a time or several with a leading T.
            batched: whether each item has a leading T; by default what a DataLoader's batch size
                says, and False for any other iterable.
        """
        self._source: Iterator[Any] = iter(tasks)
        loader = isinstance(tasks, DataLoader) and tasks.batch_sampler is not None
        self._batched = loader if batched is None else batched
        self._held: list[Task] = []

    def __call__(self, address: Address, seed: int) -> Task:
        """Give the addressed tasks, reading on as far as needed."""
        _refuse_redraws(address, self.withheld)
        self._read(int(address.task.max(initial=-1)) + 1)
        return _stacked([self._held[i] for i in address.task], address.task)

    def _read(self, count: int) -> None:
        while len(self._held) < count:
            try:
                task = as_task(next(self._source))
            except StopIteration:
                raise InvalidInput(
                    f"The stream ended after {len(self._held)} tasks, and {count} are needed: at "
                    "each batch size fresh ones. Lower --tasks, or give a stream that goes on."
                ) from None
            self._held += _rows(task) if self._batched else [task]


def withheld(sample: Sampler) -> str:
    """Say why a sampler can't redraw parts of a task, or nothing if it can."""
    return sample.withheld if isinstance(sample, Indexed | Stream) else ""


def as_task(found: Any) -> Task:
    """Read (support, query) as a task, arrays as tensors."""
    if not isinstance(found, Task):
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise InvalidInput(
                f"A task must be a pair (support, query); given a {type(found).__name__}"
                + (f" of {len(found)}." if isinstance(found, tuple | list) else ".")
            )
        found = Task(*found)
    task: Task = tree_map(torch.as_tensor, found)
    return task


def check_drawn(task: Task, count: int) -> None:
    """Refuse a sample that isn't `count` tasks with something in each."""
    for part, data in (("support", task.support), ("query", task.query)):
        shapes: list[tuple[int, ...]] = []
        tree_map(lambda leaf, shapes=shapes: shapes.append(tuple(leaf.shape)), data)
        if not shapes or any(0 in shape[1:] for shape in shapes):
            raise InvalidInput(f"The {part} set of a task is empty; it needs at least 1 example.")
        for shape in shapes:
            if shape[:1] != (count,):
                raise InvalidInput(
                    f"{count} tasks were asked for, and the sampler gave a {part} tensor of shape "
                    f"{shape}; its first axis must run over the {count} tasks."
                )


def _refuse_redraws(address: Address, why: str) -> None:
    if any(axis.any() for axis in address[1:]):
        raise InvalidInput(f"No redraws: {why}.")


def _rows(tasks: Task) -> list[Task]:
    sizes: list[int] = []
    tree_map(lambda leaf: sizes.append(len(leaf)), tasks)
    return [tree_map(lambda leaf, i=i: leaf[i], tasks) for i in range(min(sizes))]


def _stacked(tasks: list[Task], numbers: NDArray[np.int64]) -> Task:
    """Join tasks of one shape along a new first axis."""
    shapes = [_shapes(task) for task in tasks]
    for i, found in enumerate(shapes):
        if found != shapes[0]:
            raise InvalidInput(
                f"Tasks differ in shape: task {numbers[i]} has {_shapes_text(found)}, "
                f"task {numbers[0]} has {_shapes_text(shapes[0])}. Pad or trim them to one shape, "
                "and mask the padding in the loss."
            )
    joined: Task = tree_map(lambda *leaves: torch.stack(leaves), *tasks)
    return joined


def _shapes(task: Task) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []

    def note(leaf: Tensor) -> None:
        found.append(tuple(leaf.shape))

    tree_map(note, task)
    return tuple(found)


def _shapes_text(shapes: tuple[tuple[int, ...], ...]) -> str:
    return ", ".join(str(shape) for shape in shapes)
