"""N-way K-shot tasks drawn from a pool of images: classes, images and labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.problems import random_numbers
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput


class Pool(NamedTuple):
    """Images of all classes, concatenated; classes may differ in size."""

    images: NDArray[np.uint8]  # (images, channels, side, side)
    counts: NDArray[np.int64]  # images of each class, (classes,)
    names: tuple[str, ...]  # of the classes

    def check(self, ways: int, shots: int, queries: int, turns: int = 1) -> None:
        """Check that there are enough classes, and enough images in each.

        Args:
            ways: N, classes of a task.
            shots: support images of each class.
            queries: query images of each class.
            turns: quarter turns counted as separate classes, 1 or 4.

        Raises:
            InvalidInput: if there are too few.
        """
        classes = len(self.counts) * turns
        if ways > classes:
            raise InvalidInput(
                f"ways is {ways}, but the split has only {classes} classes; use fewer ways."
            )
        short = int(np.argmin(self.counts))
        half = int(self.counts[short]) // 2
        if max(shots, queries) > half:
            raise InvalidInput(
                f"shots is {shots} and queries is {queries}, but class {self.names[short]} has "
                f"{self.counts[short]} images, {half} for each set; use at most {half}, or remove "
                "the class."
            )


def draw_tasks(
    pool: Pool, address: Address, seed: int, ways: int, shots: int, queries: int, turns: int = 1
) -> Task:
    """Draw tasks: images `(T, ways * n, C, side, side)` in [0, 1], labels `(T, ways * n)`.

    A class is one of the pool, rotated by one of `turns` quarter turns. Support and query images
    come from two disjoint halves of a class's images, drawn with the task, so that either set can
    be redrawn without changing the other.

    Args:
        pool: images by class.
        address: of T tasks.
        seed: of the draw.
        ways: N, classes of a task.
        shots: support images of each class.
        queries: query images of each class.
        turns: quarter turns counted as separate classes, 1 or 4.
    """
    classes, most = len(pool.counts) * turns, int(pool.counts.max())
    numbers = random_numbers.uniform(seed, "task", address, classes + ways * most)
    chosen = random_numbers.order(numbers[:, :classes])[:, :ways]
    which, turned = chosen % len(pool.counts), chosen // len(pool.counts)
    counts = pool.counts[which]  # (T, ways)
    firsts = np.concatenate([[0], np.cumsum(pool.counts)])[which]
    order = _order(numbers[:, classes:].reshape(-1, ways, most), counts)
    half = counts // 2
    labels = random_numbers.order(random_numbers.uniform(seed, "label", address, ways))

    def pick(axis: str, offset: NDArray[np.int64], count: int) -> tuple[Tensor, Tensor]:
        keys = random_numbers.uniform(seed, axis, address, ways * (most // 2))
        places = _order(keys.reshape(-1, ways, most // 2), half)[:, :, :count]
        inside = np.take_along_axis(order, places + offset[:, :, None], axis=2)
        images = pool.images[firsts[:, :, None] + inside]  # (T, ways, count, C, side, side)
        for quarter in range(1, turns):
            at = turned == quarter
            images[at] = np.rot90(images[at], quarter, axes=(-2, -1))
        x = images.reshape(len(images), ways * count, *images.shape[3:]) / 255.0
        return torch.from_numpy(x), torch.from_numpy(np.repeat(labels, count, axis=1))

    return Task(pick("support", np.zeros_like(half), shots), pick("query", half, queries))


def _order(numbers: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Permute 0 .. count - 1 at random in each row; positions beyond the count come last."""
    beyond = np.arange(numbers.shape[-1]) >= counts[..., None]
    return random_numbers.order(np.where(beyond, 2.0, numbers))
