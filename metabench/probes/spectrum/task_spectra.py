"""Spectra of many tasks at one place of the inner loop, as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from metabench.stats.intervals import Vector


class SpectrumEnds(NamedTuple):
    """The extreme eigenvalues of T operators."""

    smallest: Vector  # (T,)
    largest: Vector  # (T,)
    slack: Vector  # (T,), how far beyond them an eigenvalue may lie
    converged: Vector  # (T,), 1 where two starts agree to the tolerance
    finite: Vector  # (T,), 0 where a product wasn't finite


class Densities(NamedTuple):
    """The traces of T operators and s quadratures of the density of each."""

    trace: Vector  # (T,), unbiased
    trace_error: Vector  # (T,)
    values: Vector  # (T, s, m), nodes
    weights: Vector  # (T, s, m)


class TaskSpectra(NamedTuple):
    """Extreme eigenvalues, densities and layers' blocks of T operators at one place."""

    ends: SpectrumEnds
    densities: Densities | None = None
    exact: bool = False  # the nodes are all the eigenvalues
    parameters: int = 0  # P
    layers: Mapping[str, tuple[SpectrumEnds, Vector]] = {}  # of each block: ends, trace (T,)

    def where_finite(self, finite: Vector) -> TaskSpectra:
        """Return these spectra with tasks marked as not finite where `finite` is 0."""
        return self._replace(ends=self.ends._replace(finite=self.ends.finite * finite))


def spectral_norms(ends: SpectrumEnds) -> Vector:
    """Return the spectral norm of each operator, `(T,)`."""
    found: Vector = np.maximum(np.abs(ends.largest), np.abs(ends.smallest))
    return found


def concatenate(parts: list[TaskSpectra]) -> TaskSpectra:
    """Return the spectra of the tasks of several chunks as one."""
    first = parts[0]
    densities = [part.densities for part in parts if part.densities is not None]
    return first._replace(
        ends=_ends([part.ends for part in parts]),
        densities=_densities(densities) if densities else None,
        layers={
            name: (
                _ends([part.layers[name][0] for part in parts]),
                np.concatenate([part.layers[name][1] for part in parts]),
            )
            for name in first.layers
        },
    )


def _ends(parts: list[SpectrumEnds]) -> SpectrumEnds:
    return SpectrumEnds(*map(np.concatenate, zip(*parts, strict=True)))


def _densities(parts: list[Densities]) -> Densities:
    """Concatenate densities, padding quadratures to the same number of nodes with zero weights."""
    width = max(part.values.shape[2] for part in parts)

    def wide(array: Vector, by: float) -> Vector:
        more = [(0, 0), (0, 0), (0, width - array.shape[2])]
        return np.pad(array, more, constant_values=by)

    return Densities(
        np.concatenate([part.trace for part in parts]),
        np.concatenate([part.trace_error for part in parts]),
        np.concatenate([wide(part.values, np.inf) for part in parts]),
        np.concatenate([wide(part.weights, 0.0) for part in parts]),
    )
