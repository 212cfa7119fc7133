"""Which classes train, which validate and which test?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from metabench.problems import random_numbers
from metabench.problems.tasks import Address
from metabench.settings.errors import InvalidInput

SPLITS = ("train", "val", "test")


def check_split(split: str, known: Iterable[str] = SPLITS) -> None:
    """Refuse a split that there isn't, naming those that there are."""
    if split not in known:
        raise InvalidInput(f"split is {split!r}; it must be one of {', '.join(known)}.")


def classes_of_split(split: str, count: int, ends: Sequence[int], source: str) -> NDArray[np.int64]:
    """Give the classes of a split, drawn from all of them in an order that no seed changes.

    Args:
        split: train, val or test.
        count: of all classes.
        ends: how many train, and how many train or validate.
        source: what the classes are of, for the message.

    Returns:
        Their numbers, as drawn.

    Raises:
        InvalidInput: if there are none.
    """
    chance = random_numbers.uniform(0, "theta", Address.fresh(0, 1), count)[0]
    parts = np.split(random_numbers.order(chance), ends)
    chosen: NDArray[np.int64] = parts[SPLITS.index(split)]
    if not len(chosen):
        raise InvalidInput(f"{source}, too few for a {split} split.")
    return chosen
