"""N-way K-shot classification of handwritten digits, which need no download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metabench.families.base import Family, at_least
from metabench.problems import architectures, random_numbers
from metabench.problems.images.class_splits import check_split
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput

SPLITS = {"train": (0, 1, 2, 3, 4, 5, 6), "test": (7, 8, 9)}
# Rotated by 180 degrees, 0, 1 and 8 look the same, and 6 and 9 like each other: not new classes.
QUARTER_TURNS = {digit: (0, 1) if digit in (0, 1, 6, 8, 9) else (0, 1, 2, 3) for digit in range(10)}
SIDE = 8  # of an image [pixels]


@dataclass(frozen=True)
class Digits(Family):
    """Classify 8x8 handwritten digits; a class is a digit and a rotation by quarter turns.

    Digits are split before they are rotated: 0 to 6 train (22 classes), 7 to 9 test (8 classes).
    Within a task, support and query images of a class come from two disjoint halves of its images,
    drawn with the task, so that either set can be redrawn without changing the other. The network
    has two blocks of 3x3 convolution, batch norm (batch statistics), ReLU and pooling; the loss is
    the cross-entropy.
    (Alpaydin & Kaynak, 1998, https://doi.org/10.24432/C50P49), as bundled with scikit-learn.

    >>> import metabench as mb
    >>> family = mb.Digits(ways=5, shots=1)
    >>> x, y = family.sample(mb.Address.fresh(start=0, count=4), seed=0).support
    >>> x.shape, y.shape  # four tasks of five images
    (torch.Size([4, 5, 1, 8, 8]), torch.Size([4, 5]))
    """

    ways: int = 5  # N, classes of a task [classes]
    shots: int = 1  # support images of each class [examples]
    queries: int = 15  # query images of each class [examples]
    split: str = "train"  # digits of the classes: train or test
    filters: int = 32  # channels of each convolution [channels]

    tasks: ClassVar[int] = 256
    held_out: ClassVar[str] = "test"

    def __post_init__(self) -> None:
        """Check sizes against the classes of the split and the images of a class."""
        at_least(1, shots=self.shots, queries=self.queries, filters=self.filters)
        at_least(2, ways=self.ways)
        check_split(self.split, SPLITS)
        classes = sum(len(QUARTER_TURNS[digit]) for digit in SPLITS[self.split])
        if self.ways > classes:
            raise InvalidInput(
                f"ways is {self.ways}, but the {self.split} split has {classes} classes; "
                f"ask for at most {classes}."
            )
        half = _images(self.split)[1] // 2
        if max(self.shots, self.queries) > half:
            raise InvalidInput(
                f"shots is {self.shots} and queries is {self.queries}, but a class has {half} "
                f"images for each; ask for at most {half}."
            )

    def problem(self) -> Problem:
        """Return the problem of minimizing the network's cross-entropy."""
        return Problem.from_module(self._net(), functional.cross_entropy)

    def theta(self, seed: int) -> Tensor:
        """Draw the network's initial parameters, `(Q,)`."""
        return architectures.initial_parameters(self._net(), seed)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: images `(T, ways * shots, 1, 8, 8)` in [0, 1], labels `(T, ways * shots)`."""
        images, each = _images(self.split)
        tasks, half = len(address.task), each // 2
        numbers = random_numbers.uniform(seed, "task", address, len(images) + self.ways * each)
        classes = random_numbers.order(numbers[:, : len(images)])[:, : self.ways]
        deal = random_numbers.order(numbers[:, len(images) :].reshape(tasks, self.ways, each))
        labels = random_numbers.order(random_numbers.uniform(seed, "label", address, self.ways))

        def pick(axis: str, pool: NDArray[np.int64], count: int) -> tuple[Tensor, Tensor]:
            keys = random_numbers.uniform(seed, axis, address, self.ways * half)
            chosen = random_numbers.order(keys.reshape(tasks, self.ways, half))[:, :, :count]
            which = np.take_along_axis(pool, chosen, axis=2)
            x = images[classes[:, :, None], which].reshape(tasks, -1, 1, SIDE, SIDE)
            return torch.from_numpy(x), torch.from_numpy(np.repeat(labels, count, axis=1))

        return Task(
            pick("support", deal[:, :, :half], self.shots),
            pick("query", deal[:, :, half:], self.queries),
        )

    def _net(self) -> torch.nn.Module:
        return architectures.conv(2, self.filters, self.ways, SIDE)


@cache
def _images(split: str) -> tuple[NDArray[np.float64], int]:
    """Return the images of each class, `(classes, each, 8, 8)` in [0, 1], and `each`."""
    from sklearn.datasets import load_digits

    bundle = load_digits()
    by_digit = [bundle.images[bundle.target == digit] / 16.0 for digit in SPLITS[split]]
    each = 2 * (min(map(len, by_digit)) // 2)
    turned = [
        np.rot90(images[:each], turns, axes=(1, 2))
        for digit, images in zip(SPLITS[split], by_digit, strict=True)
        for turns in QUARTER_TURNS[digit]
    ]
    return np.stack(turned), each
