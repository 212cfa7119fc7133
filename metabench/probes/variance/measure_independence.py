"""Test of whether the tasks of a batch are independent, from the meta-gradients of single tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.algorithms.black_box import BlackBox
from metabench.probes.variance.collect import NUMBERS_PER_BLOCK, Array, Sample
from metabench.problems.samplers import has_independent_tasks
from metabench.records.rows import Row
from metabench.stats.order_test import LEVEL, OrderTest, order_test

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

WIDTH = 32  # random signed sums of columns that stand for a meta-gradient
MOST_TASKS = 4096  # that are permuted


def measure(subject: Subject, sample: Sample, seed: int) -> list[Row]:
    """Return whether consecutive tasks are independent, and how much their sums exceed that.

    `independence` holds the p-value of a permutation of the tasks' order, and the status `refuted`
    at its level; `holds` without a test if the sampler declares it. `batch_excess` is the mean
    square of consecutive batches over that of independent tasks.

    Args:
        subject: whose sampler may declare independent tasks.
        sample: meta-gradients of single, consecutive tasks.
        seed: of the signs and permutations.
    """
    algorithm = subject.algorithm
    per_task = not (isinstance(algorithm, BlackBox) and algorithm.batched)
    if per_task and has_independent_tasks(subject.sample):
        return [Row("independence", status="holds")]
    found = _test(subject, sample, seed) if sample.finite.all() else None
    if found is None:
        return [Row("independence", status="open")]
    verdict = "refuted" if found.p <= LEVEL else "not refuted"
    return [
        Row("independence", value=found.p, status=verdict),
        Row("batch_excess", value=found.ratio),
    ]


def _test(subject: Subject, sample: Sample, seed: int) -> OrderTest | None:
    return order_test(signed_sums(sample, subject.theta.numel(), seed), seed)


def signed_sums(sample: Sample, Q: int, seed: int) -> Array:
    """Return sums of columns with random signs, `(n, WIDTH)`, which keep inner products on average.

    They depend on each vector alone, so that a permutation test of them is exact.

    Args:
        sample: vectors `(n, Q)`.
        Q: number of columns; WIDTH or fewer are only given signs.
        seed: of the signs.
    """
    n = min(len(sample.finite), MOST_TASKS)
    generator, sums = np.random.default_rng(seed), np.zeros((n, WIDTH))
    step = max(NUMBERS_PER_BLOCK // len(sample.finite) // WIDTH, 1) * WIDTH
    for start in range(0, Q, step):
        block = sample.columns(start, min(start + step, Q))[:n].astype(np.float64)
        block *= np.where(generator.random(block.shape[1]) < 0.5, -1.0, 1.0)
        missing = -block.shape[1] % WIDTH
        sums += np.pad(block, ((0, 0), (0, missing))).reshape(n, -1, WIDTH).sum(1)
    return sums
