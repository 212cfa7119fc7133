"""Tensors that a module keeps as plain attributes, neither parameters nor buffers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn

from metabench.problems.networks.like_a_vector import like


class PlainTensor(NamedTuple):
    """A tensor that is an attribute of a part of a module."""

    part: nn.Module
    name: str
    value: Tensor


def plain_tensors(net: nn.Module) -> tuple[PlainTensor, ...]:
    """Return the tensors among the attributes of all parts of a module."""
    return tuple(
        PlainTensor(part, name, value)
        for part in net.modules()
        for name, value in vars(part).items()
        if isinstance(value, Tensor)
    )


@contextmanager
def following(held: Sequence[PlainTensor], vector: Tensor) -> Generator[None]:
    """Give plain tensors the device and dtype of a vector, as buffers have, for one call.

    A tensor that the call itself assigns stays.
    """
    moved = [
        (part, name, like(value, vector), value)
        for part, name, value in held
        if vars(part).get(name) is value
    ]
    for part, name, now, _ in moved:
        vars(part)[name] = now
    try:
        yield
    finally:
        for part, name, now, value in moved:
            if vars(part).get(name) is now:
                vars(part)[name] = value
