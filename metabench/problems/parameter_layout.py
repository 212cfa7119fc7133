"""Layouts: how named parameters are stored in one flat vector."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from metabench.settings.errors import InvalidInput

MOST_LISTED = 6  # parameters that do not fit, in a message


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parameters that a flat vector holds, in order.

    >>> import torch
    >>> import metabench as mb
    >>> layout = mb.Layout.from_tensors({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    >>> layout.size
    8
    >>> layout.unflatten(torch.arange(8.0))["bias"]
    tensor([6., 7.])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def from_tensors(cls, parameters: Mapping[str, Tensor]) -> Layout:
        """Return the layout of named tensors, in their order."""
        return cls(tuple(parameters), tuple(tuple(value.shape) for value in parameters.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of entries in each segment."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @property
    def size(self) -> int:
        """Number of entries in the whole vector."""
        return sum(self.sizes)

    def segments(self) -> Iterator[tuple[str, slice]]:
        """Yield each name with the slice of the flat vector that holds it."""
        start = 0
        for name, size in zip(self.names, self.sizes, strict=True):
            yield name, slice(start, start + size)
            start += size

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Return named views of a flat vector `(..., size)`, each `(..., *shape)`."""
        # split + view: the backward of split is one cat, that of slicing is O(layers x size)
        pieces = torch.split(vector, list(self.sizes), dim=-1)
        lead = vector.shape[:-1]
        return {
            name: piece.view((*lead, *shape))  # one argument: a parameter may have no axes
            for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)
        }

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Concatenate named tensors to a flat vector `(size,)` in this layout's order.

        Raises:
            InvalidInput: if a name is missing, is not in the layout, or has another shape.
        """
        given = {name: tuple(value.shape) for name, value in parameters.items()}
        expected = dict(zip(self.names, self.shapes, strict=True))
        differing = [
            f"{name}: given {given.get(name, 'nothing')}, expected {expected.get(name, 'nothing')}"
            for name in sorted({*given, *expected})
            if given.get(name) != expected.get(name)
        ]
        if differing:
            more = len(differing) - MOST_LISTED
            raise InvalidInput(
                "These parameters do not fit: "
                + "; ".join(differing[:MOST_LISTED])
                + (f"; and {more} more" if more > 0 else "")
                + f".{_nearest(given, expected)} Save them from a network of the same architecture."
            )
        return torch.cat([parameters[name].reshape(-1) for name in self.names])


def _nearest(given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Return a sentence on names that are missing and nearly given, in the same shape."""
    extra = [name for name in given if name not in expected]
    pairs = []
    for name in expected:
        fitting = [each for each in extra if given[each] == expected[name]]
        near = difflib.get_close_matches(name, fitting, n=1) if name not in given else []
        pairs += [f"{each} for {name}" for each in near]
    if not pairs:
        return ""
    more = f" and {len(pairs) - MOST_LISTED} more" if len(pairs) > MOST_LISTED else ""
    return f" Near: {', '.join(pairs[:MOST_LISTED])}{more}."


class Layouts(NamedTuple):
    """The layout of the adapted parameters phi `(P,)` and of the meta-parameters theta `(Q,)`."""

    phi: Layout
    theta: Layout
