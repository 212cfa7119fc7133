"""Samples of meta-gradients, n vectors of Q numbers, kept in memory or in a temporary file."""

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

NUMBERS_PER_BLOCK = 2**22  # that statistics read at a time: 32 MiB in float64, plus copies
MEMORY_DIVISOR = 4  # a sample, and the tasks computed together, may each use 1/4 of the memory

Array = NDArray[np.floating]
S = TypeVar("S")


class Sample(Protocol):
    """Vectors `(n, Q)`, written by rows and read by columns."""

    finite: NDArray[np.bool_]  # whether all numbers of a vector are finite, (n,)

    def columns(self, start: int, stop: int) -> Array:
        """Return the columns `start .. stop - 1` of the sample, `(n, stop - start)`."""


class InMemory:
    """A sample in one array."""

    def __init__(self, array: Array) -> None:
        """Keep the array `(n, Q)`."""
        self.array = array
        self.finite = np.asarray(np.isfinite(array).all(1))

    def columns(self, start: int, stop: int) -> Array:
        """Return the columns `start .. stop - 1` of the sample."""
        return self.array[:, start:stop]


class OnDisk:
    """A sample in an unnamed temporary file, read by blocks of columns.

    It uses plain reads, because the pages of a memory map count as this process's memory. Each part
    is written column by column, so that a block of columns is one read per part.
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
        """Return the columns `start .. stop - 1` of the sample."""
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
    """Return the estimator's means over batches of tasks, as a sample.

    Args:
        subject: whose meta-gradients are computed.
        address: of the tasks, `size` for each batch.
        seed: of every draw.
        size: tasks in a batch.
        memory: bytes that may be used.
        advance: called with the number of tasks done since the last call.
    """

    def parts() -> Iterator[Array]:
        for means in subject.estimates(address, seed, size):
            yield means.detach().cpu().numpy()
            advance(size * len(means))

    return store(parts(), subject, len(address.task) // size, memory)


def store(parts: Iterator[Array], subject: Subject, count: int, memory: int) -> Sample:
    """Keep vectors in memory, or in a file where they don't fit.

    Args:
        parts: the vectors in parts `(m, Q)`.
        subject: whose theta gives the size of a vector.
        count: number of vectors.
        memory: bytes that may be used.
    """
    theta = subject.theta
    if count * theta.numel() * theta.element_size() > memory // MEMORY_DIVISOR:
        return OnDisk(parts)
    return InMemory(np.concatenate(list(parts)))


def limit_chunk(subject: Subject, memory: int) -> Subject:
    """Return the subject with a chunk of tasks that fits the memory.

    It counts what grows with the parameters: the inner iterates, the adjoint and its copies. The
    activations, which grow with the data of a task, are not known here.
    """
    algorithm, theta = subject.algorithm, subject.theta
    P, Q = subject.problem.layouts.phi.size, theta.numel()
    iterates = 0  # unknown for a black box
    if isinstance(algorithm, Algorithm):
        iterates = (1 + len(algorithm.inner_optimizer.start(theta))) * (algorithm.steps + 1)
    each = (4 * Q + P * (8 + iterates)) * theta.element_size()
    chunk = max(min(subject.compute.chunk, memory // MEMORY_DIVISOR // each), 1)
    return replace(subject, compute=replace(subject.compute, chunk=chunk))


def by_layer(
    layout: Layout,
    samples: list[Sample],
    statistic: Callable[..., S],
    joined: Callable[[list[S]], S],
) -> dict[str, S]:
    """Compute a statistic by blocks of columns: for all parameters, under "", and for each layer.

    A layout with one segment has only the entry "".

    Args:
        layout: of the columns.
        samples: of the same n vectors.
        statistic: called with a block of columns of every sample.
        joined: combines the statistics of parts of a vector.
    """
    layers = {}
    for name, segment in layout.segments():
        step = max(NUMBERS_PER_BLOCK // len(samples[0].finite), 1)
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
