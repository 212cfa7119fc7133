"""Splits of classes into train, val and test."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.problems import random_numbers
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput

SPLITS = ("train", "val", "test")


def check_split(split: str, known: Iterable[str] = SPLITS) -> None:
    """Raise InvalidInput for an unknown split, naming the known ones."""
    if split not in known:
        raise InvalidInput(f"split is {split!r}; it must be one of {', '.join(known)}.")


def classes_of_split(split: str, count: int, ends: Sequence[int], source: str) -> NDArray[np.int64]:
    """Return the indices of a split's classes, drawn in an order that is the same for every seed.

    Args:
        split: train, val or test.
        count: number of all classes.
        ends: number of train classes, and of train and val classes together.
        source: a clause on the classes, for the message.

    Raises:
        InvalidInput: if the split has no classes.
    """
    chance = random_numbers.uniform(0, "theta", Address.fresh(0, 1), count)[0]
    parts = np.split(random_numbers.order(chance), ends)
    chosen: NDArray[np.int64] = parts[SPLITS.index(split)]
    if not len(chosen):
        raise InvalidInput(f"{source}, too few for a {split} split.")
    return chosen
