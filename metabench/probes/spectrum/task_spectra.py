"""What was found for each task at one place of the inner loop, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from metabench.stats.intervals import Vector


class MetaSpectra(NamedTuple):
    """The outer ends of T spectra."""

    smallest: Vector  # (T,)
    largest: Vector  # (T,)
    slack: Vector  # (T,), how far beyond them an eigenvalue may lie
    converged: Vector  # (T,), 1 where two starts agree to the tolerance
    finite: Vector  # (T,), 0 where a product wasn't finite


class Inside(NamedTuple):
    """The traces of T operators and s quadratures of each density."""

    trace: Vector  # (T,), unbiased
    trace_error: Vector  # (T,)
    values: Vector  # (T, s, m), nodes
    weights: Vector  # (T, s, m)


class TaskSpectra(NamedTuple):
    """All that is known of T operators at one place."""

    ends: MetaSpectra
    inside: Inside | None = None
    exact: bool = False  # the nodes are all the eigenvalues
    parameters: int = 0  # P
    layers: Mapping[str, tuple[MetaSpectra, Vector]] = {}  # of each block: ends, trace (T,)

    def only(self, finite: Vector) -> TaskSpectra:
        """Mark tasks whose place itself isn't finite."""
        return self._replace(ends=self.ends._replace(finite=self.ends.finite * finite))


def size(ends: MetaSpectra) -> Vector:
    """Give the largest eigenvalue in size, `(T,)`."""
    found: Vector = np.maximum(np.abs(ends.largest), np.abs(ends.smallest))
    return found


def joined(parts: list[TaskSpectra]) -> TaskSpectra:
    """Put the tasks of several chunks together."""
    first = parts[0]
    inside = [part.inside for part in parts if part.inside is not None]
    return first._replace(
        ends=_ends([part.ends for part in parts]),
        inside=_inside(inside) if inside else None,
        layers={
            name: (
                _ends([part.layers[name][0] for part in parts]),
                np.concatenate([part.layers[name][1] for part in parts]),
            )
            for name in first.layers
        },
    )


def _ends(parts: list[MetaSpectra]) -> MetaSpectra:
    return MetaSpectra(*map(np.concatenate, zip(*parts, strict=True)))


def _inside(parts: list[Inside]) -> Inside:
    """Give every quadrature as many nodes, the added ones of no weight."""
    width = max(part.values.shape[2] for part in parts)

    def wide(array: Vector, by: float) -> Vector:
        more = [(0, 0), (0, 0), (0, width - array.shape[2])]
        return np.pad(array, more, constant_values=by)

    return Inside(
        np.concatenate([part.trace for part in parts]),
        np.concatenate([part.trace_error for part in parts]),
        np.concatenate([wide(part.values, np.inf) for part in parts]),
        np.concatenate([wide(part.weights, 0.0) for part in parts]),
    )
