"""Random numbers of Python and NumPy, which torch's generators know nothing of."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

SEEDS = 4  # tried, to see whether what is drawn changes the output


@contextmanager
def same_random_numbers() -> Generator[None]:
    """Leave the global generators of torch, Python and NumPy in the state that they have now."""
    # what a user's code draws from is NumPy's global generator, old as it is
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()  # ruff: ignore[numpy-legacy-random]
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])  # ruff: ignore[numpy-legacy-random]
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)


def foreign_generator(call: Callable[[], Any], same: Callable[[Any, Any], bool]) -> str:
    """Return whose numbers a call draws, of Python or NumPy, if its output depends on them.

    Args:
        call: is called a few times.
        same: whether two of its outputs are equal.

    Returns:
        "Python's random" or "NumPy's random numbers", or "" if neither.
    """
    with same_random_numbers():
        python, numpy = random.getstate(), _numpy_state()
        call()
        moved = [
            (name, seed)
            for name, seed, is_moved in (
                ("Python's random", random.seed, random.getstate() != python),
                ("NumPy's random numbers", np.random.seed, _numpy_state() != numpy),
            )
            if is_moved
        ]
    for name, seed in moved:
        with same_random_numbers():
            outputs = []
            for number in range(SEEDS):
                with same_random_numbers():
                    seed(number)
                    outputs.append(call())
        if not all(same(outputs[0], other) for other in outputs[1:]):
            return name
    return ""


def _numpy_state() -> tuple[bytes, int]:
    """Return the numbers and the position of NumPy's global generator."""
    state: Any = np.random.get_state()  # ruff: ignore[numpy-legacy-random]
    return state[1].tobytes(), state[2]
