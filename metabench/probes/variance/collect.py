"""The estimator's answers, n vectors of Q numbers: in memory, or in a file where they don't fit."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from metabench.algorithms.base import Algorithm
from metabench.problems.tasks import Address

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.problems.parameter_layout import Layout

BLOCK = 2**22  # numbers that statistics take at a time: 32 MiB in float64, and copies of it
HELD = 4  # the share of the budget, 1/4, that a sample may hold, and tasks computed together

Array = NDArray[np.floating]
S = TypeVar("S")


class Sample(Protocol):
    """Vectors `(n, Q)` that are written in rows and read in columns."""

    finite: NDArray[np.bool_]  # whether all numbers of a vector are, (n,)

    def columns(self, start: int, stop: int) -> Array:
        """Read the numbers `start .. stop - 1` of every vector, `(n, stop - start)`."""


class InMemory:
    """A sample as one array."""

    def __init__(self, array: Array) -> None:
        """Hold the array `(n, Q)`."""
        self.array = array
        self.finite = np.asarray(np.isfinite(array).all(1))

    def columns(self, start: int, stop: int) -> Array:
        """Read the numbers `start .. stop - 1` of every vector."""
        return self.array[:, start:stop]


class OnDisk:
    """A sample as an unnamed file in the temporary folder, read a block of columns at a time.

    Plain reads rather than a memory map, whose pages count as this process's memory. Each part is
    written column after column, so that a block of columns is one read of every part.
    """

    def __init__(self, parts: Iterator[Array]) -> None:
        """Write the parts `(m, Q)` one after another."""
        file = tempfile.TemporaryFile(prefix="metabench-")  # ruff: ignore[open-file-with-context-handler]
        weakref.finalize(self, file.close)  # the file lives as long as the sample
        self.file = file
        self.heights: list[int] = []
        finite = []
        for part in parts:
            part.T.tofile(self.file)
            finite.append(np.isfinite(part).all(1))
            self.heights.append(len(part))
            self.dtype, self.width = part.dtype, part.shape[1]
        self.finite = np.concatenate(finite)

    def columns(self, start: int, stop: int) -> Array:
        """Read the numbers `start .. stop - 1` of every vector."""
        block = np.empty((len(self.finite), stop - start), self.dtype)
        row = 0
        for height in self.heights:
            self.file.seek((row * self.width + start * height) * self.dtype.itemsize)
            read = np.fromfile(self.file, self.dtype, (stop - start) * height)
            block[row : row + height] = read.reshape(stop - start, height).T
            row += height
        return block


def gather(
    subject: Subject,
    address: Address,
    seed: int,
    size: int,
    memory: int,
    advance: Callable[[int], None],
) -> Sample:
    """Collect the estimator's means over batches of `size` tasks within `memory` bytes."""

    def parts() -> Iterator[Array]:
        for means in subject.estimates(address, seed, size):
            yield means.detach().cpu().numpy()
            advance(size * len(means))

    return keep(parts(), subject, len(address.task) // size, memory)


def keep(parts: Iterator[Array], subject: Subject, count: int, memory: int) -> Sample:
    """Hold `count` vectors that come in parts `(m, Q)` where they fit: in memory or in a file."""
    theta = subject.theta
    if count * theta.numel() * theta.element_size() > memory // HELD:
        return OnDisk(parts)
    return InMemory(np.concatenate(list(parts)))


def within(subject: Subject, memory: int) -> Subject:
    """Compute fewer tasks together where as many as asked for would not fit the memory.

    Counts what grows with the parameters: the path, the adjoint and its copies. What grows with the
    data of a task, its activations, isn't known here.
    """
    algorithm, theta = subject.algorithm, subject.theta
    P, Q = subject.problem.layouts.phi.size, theta.numel()
    path = 0  # a black box keeps its own
    if isinstance(algorithm, Algorithm):
        path = (1 + len(algorithm.inner_optimizer.start(theta))) * (algorithm.steps + 1)
    each = (4 * Q + P * (8 + path)) * theta.element_size()
    chunk = max(min(subject.compute.chunk, memory // HELD // each), 1)
    return replace(subject, compute=replace(subject.compute, chunk=chunk))


def by_layer(
    layout: Layout,
    samples: list[Sample],
    statistic: Callable[..., S],
    joined: Callable[[list[S]], S],
) -> dict[str, S]:
    """Sum a statistic up over blocks of columns: for the whole, under "", and for each layer.

    A layout with one segment has no layers beside the whole.
    """
    layers = {}
    for name, segment in layout.segments():
        step = max(BLOCK // len(samples[0].finite), 1)
        blocks = [
            statistic(
                *(sample.columns(start, min(start + step, segment.stop)) for sample in samples)
            )
            for start in range(segment.start, segment.stop, step)
        ]
        if blocks:
            layers[name] = joined(blocks)
    whole = joined(list(layers.values()))
    return {"": whole, **(layers if len(layers) > 1 else {})}
