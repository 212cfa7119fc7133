"""Task samplers for user data: a function `sample(indices, seed)`, an iterable, a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from metabench.problems.task_tensors import with_tensors
from metabench.problems.tasks import Address, Sampler, Task, tree_map
from metabench.settings.errors import InvalidInput

T = TypeVar("T")


@dataclass(frozen=True)
class Indexed:
    """A sampler made of a function `sample(indices, seed)` -> (support, query) with a leading T.

    The same index and seed must give the same task, whichever others are drawn with it.

    >>> import torch
    >>> import metabench as mb
    >>> def sample(indices, seed):
    ...     x = torch.stack([torch.full((5, 1), float(i)) for i in indices])
    ...     return (x, x), (x, x)  # support and query set, each (x, y)
    >>> task = mb.Indexed(sample)(mb.Address.fresh(start=7, count=2), seed=0)
    >>> task.support[0].shape, task.support[0][0, 0]
    (torch.Size([2, 5, 1]), tensor([7.]))
    """

    sample: Callable[[NDArray[np.int64], int], Any]

    withheld: ClassVar[str] = (
        "this sampler draws by task index only, so support, query and labels can't be redrawn "
        "separately; quantities that need redraws require a sampler sample(address, seed)"
    )

    def __call__(self, address: Address, seed: int) -> Task:
        """Draw the addressed tasks; redraws are refused."""
        _refuse_redraws(address, self.withheld)
        return as_task(self.sample(address.task, seed))


class Stream:
    """A sampler of the tasks (support, query) of an iterable or DataLoader; task i is item i.

    Tasks are kept in memory once read, so that every algorithm gets the same ones; the seed has no
    effect. If the iterable repeats items, tasks are not independent.

    >>> import torch
    >>> import metabench as mb
    >>> items = ((torch.full((5,), float(i)), torch.zeros(5)) for i in range(100))
    >>> task = mb.Stream(items)(mb.Address.fresh(start=2, count=3), seed=0)
    >>> task.support[:, 0]
    tensor([2., 3., 4.])
    """

    withheld: ClassVar[str] = (
        "tasks come from a stream, so support, query and labels can't be redrawn separately; "
        "quantities that need redraws require a sampler sample(address, seed)"
    )

    def __init__(self, tasks: Iterable[Any], batched: bool | None = None) -> None:
        """Start a stream; items are read when first needed.

        Args:
            tasks: yields (support, query), one task at a time or several with a leading T.
            batched: whether each item has a leading T; by default True for a DataLoader that
                batches, else False.

        Raises:
            InvalidInput: if the tasks can't be iterated over.
        """
        given: Any = tasks
        if not isinstance(given, Iterable) and not hasattr(given, "__getitem__"):
            raise InvalidInput(
                f"A stream's tasks are of type {type(given).__name__}; give an iterable of "
                "(support, query), or a DataLoader. A function of a task's number is "
                "mb.Indexed(sample)."
            )
        self._source: Iterator[Any] = iter(tasks)
        loader = isinstance(tasks, DataLoader) and tasks.batch_sampler is not None
        self._batched = loader if batched is None else batched
        self._held: list[Task] = []

    def __call__(self, address: Address, seed: int) -> Task:
        """Return the addressed tasks, reading further items as needed."""
        _refuse_redraws(address, self.withheld)
        self._read(int(address.task.max(initial=-1)) + 1)
        return _stacked([self._held[i] for i in address.task], address.task)

    def _read(self, count: int) -> None:
        while len(self._held) < count:
            try:
                task = as_task(next(self._source))
            except StopIteration:
                raise InvalidInput(
                    f"The stream ended after {len(self._held)} task"
                    f"{'' if len(self._held) == 1 else 's'}, but {count} are needed: "
                    "each batch size takes fresh tasks. Lower --tasks, or give a longer stream."
                ) from None
            self._held += _rows(task) if self._batched else [task]


def independent_tasks(sample: Callable[..., T]) -> Callable[..., T]:
    """Declare that a sampler draws its tasks independently, so that this isn't tested.

    It decorates a function `sample(address, seed)`, that of an `Indexed`, or the method `sample` of
    a family. A method that overrides it has to be declared anew.

    >>> import metabench as mb
    >>> @mb.independent_tasks
    ... def sample(address, seed):
    ...     return mb.Sinusoid().sample(address, seed)
    >>> has_independent_tasks(sample), has_independent_tasks(lambda address, seed: None)
    (True, False)
    """
    sample.independent_tasks = True  # type: ignore[attr-defined]
    return sample


def has_independent_tasks(sample: Sampler) -> bool:
    """Return whether a sampler declares that it draws its tasks independently."""
    function = sample.sample if isinstance(sample, Indexed) else sample
    return bool(getattr(function, "independent_tasks", False))


def withheld(sample: Sampler) -> str:
    """Return why a sampler can't redraw parts of a task, or "" if it can."""
    return sample.withheld if isinstance(sample, Indexed | Stream) else ""


def as_task(found: Any) -> Task:
    """Convert (support, query) to a task, and arrays and lists of numbers to tensors.

    Raises:
        InvalidInput: if it is no pair, or a part of it no tensor.
    """
    if not isinstance(found, Task):
        if not isinstance(found, tuple | list) or len(found) != 2:
            more = ' Take them out: task["support"], task["query"].' * isinstance(found, dict)
            raise InvalidInput(
                f"A task must be a pair (support, query); given a {type(found).__name__}"
                + (f" of {len(found)}." if isinstance(found, tuple | list) else f".{more}")
            )
        found = Task(*found)
    parts = [
        with_tensors(data, name)
        for name, data in (("support", found.support), ("query", found.query))
    ]
    return Task(parts[0], parts[1], tree_map(torch.as_tensor, found.noise))


def check_drawn(task: Task, count: int) -> None:
    """Raise InvalidInput unless a sample is `count` tasks with non-empty sets."""
    for part, data in (("support", task.support), ("query", task.query)):
        shapes: list[tuple[int, ...]] = []
        tree_map(lambda leaf, shapes=shapes: shapes.append(tuple(leaf.shape)), data)
        if not shapes or any(0 in shape[1:] for shape in shapes):
            raise InvalidInput(f"The {part} set of a task is empty; it needs at least 1 example.")
        for shape in shapes:
            if shape[:1] != (count,):
                raise InvalidInput(
                    f"{count} tasks were requested, but the sampler gave a {part} tensor of shape "
                    f"{shape}; its first axis must run over the {count} tasks. Join a list of "
                    "one tensor for each task by torch.stack."
                )


def _refuse_redraws(address: Address, why: str) -> None:
    if any(axis.any() for axis in address[1:]):
        raise InvalidInput(f"No redraws are possible: {why}.")


def _rows(tasks: Task) -> list[Task]:
    sizes = [len(leaf) if leaf.dim() else 0 for leaf in tree_leaves((tasks.support, tasks.query))]
    if len(set(sizes)) != 1:
        raise InvalidInput(
            "An item of the stream is read as a batch of tasks, but its tensors have first axes "
            f"of {', '.join(map(str, sizes))}; all must run over the same tasks. If an item is one "
            "task, give mb.Stream(tasks, batched=False)."
        )
    return [tree_map(lambda leaf, i=i: leaf[i], tasks) for i in range(sizes[0])]


def _stacked(tasks: list[Task], numbers: NDArray[np.int64]) -> Task:
    """Stack tasks of one shape along a new first axis."""
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
