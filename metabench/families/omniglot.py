"""N-way K-shot classification on Omniglot: 1,623 handwritten characters, 20 drawings each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metabench.families.base import Family, at_least
from metabench.problems import architectures
from metabench.problems.images import archives, class_splits, image_folders, n_way_k_shot
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task

HOME = "https://github.com/brendenlake/omniglot/raw/master/python"
# Digests as published by torchvision's loader of the same files.
PARTS = {
    "images_background": "md5:68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "md5:6b91aef0f799c5bb55b94e3f2daec811",
}
TRAIN, VAL = 1100, 100  # characters; the other 423 test
SIDE = 28


@dataclass(frozen=True)
class Omniglot(Family):
    """N-way K-shot classification of handwritten characters of 50 alphabets, as 28x28 images.

    Characters are split before they are rotated: 1,100 train, 100 val, 423 test, regardless of
    alphabet and seed; a class is a character and a rotation by quarter turns. Ink is 1, paper 0.
    Downloaded once, to METABENCH_CACHE or the platform's cache folder.
    (Lake, Salakhutdinov & Tenenbaum, 2015, https://doi.org/10.1126/science.aab3050).

    >>> import metabench as mb
    >>> mb.Omniglot.held_out, mb.Omniglot.needs  # mb.Omniglot() downloads
    ('val', 'download')
    """

    ways: int = 5  # N, classes of a task [classes]
    shots: int = 1  # support images of each class, at most 10 [examples]
    queries: int = 10  # query images of each class, at most 10 [examples]
    split: str = "train"  # train, val or test
    rotations: bool = True  # whether quarter turns of a character are separate classes
    filters: int = 64  # channels of each convolution [channels]
    norm: bool = True  # batch norm, with batch statistics

    tasks: ClassVar[int] = 256
    held_out: ClassVar[str] = "val"
    needs: ClassVar[str] = "download"

    def __post_init__(self) -> None:
        """Check sizes against the classes of the split and the images of a class."""
        at_least(1, shots=self.shots, queries=self.queries, filters=self.filters)
        at_least(2, ways=self.ways)
        class_splits.check_split(self.split)
        _pool(self.split).check(self.ways, self.shots, self.queries, self._turns)

    def problem(self) -> Problem:
        """Return the problem of minimizing the network's cross-entropy."""
        return Problem.from_module(self._net(), functional.cross_entropy)

    def theta(self, seed: int) -> Tensor:
        """Draw the network's initial parameters, `(Q,)`."""
        return architectures.initial_parameters(self._net(), seed)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: images `(T, ways * n, 1, 28, 28)` in [0, 1], labels `(T, ways * n)`."""
        sizes = self.ways, self.shots, self.queries
        return n_way_k_shot.draw_tasks(_pool(self.split), address, seed, *sizes, self._turns)

    @property
    def _turns(self) -> int:
        return 4 if self.rotations else 1

    def _net(self) -> torch.nn.Module:
        return architectures.conv(4, self.filters, self.ways, SIDE, 1, self.norm)


@cache
def _pool(split: str) -> n_way_k_shot.Pool:
    """Return the characters of a split; the result is cached."""
    everything = _characters(archives.cache())
    count = len(everything.counts)
    source = f"Omniglot has {count} characters here"
    chosen = np.sort(class_splits.classes_of_split(split, count, [TRAIN, TRAIN + VAL], source))
    firsts = np.concatenate([[0], np.cumsum(everything.counts)])
    rows = [np.arange(firsts[c], firsts[c + 1]) for c in chosen]
    names = tuple(everything.names[c] for c in chosen)
    return n_way_k_shot.Pool(
        everything.images[np.concatenate(rows)], everything.counts[chosen], names
    )


@cache
def _characters(kept: Path) -> n_way_k_shot.Pool:
    """Read every character, ink 255, downloading the archives if needed."""
    found: dict[str, list[Path]] = {}
    for part, digest in PARTS.items():
        target = kept / part
        if not target.is_dir():
            archives.unpack(archives.fetch(f"{HOME}/{part}.zip", digest), target)
        found |= image_folders.classes_below(target)
    pool = image_folders.read_classes(found, SIDE, 1)
    return pool._replace(images=255 - pool.images)
