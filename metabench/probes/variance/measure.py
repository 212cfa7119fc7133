"""Measure the variance of the meta-gradient at every B, on fresh, disjoint batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from metabench.probes.base import Progress
from metabench.probes.variance import (
    equal_cost_errors,
    measure_bias,
    measure_independence,
    measure_outer_optimizer,
    measure_tails,
)
from metabench.probes.variance.collect import Array, by_layer, gather, limit_chunk, store
from metabench.probes.variance.independent_law import independent_law
from metabench.probes.variance.measure_noise import (
    diverged_row,
    layer_rows,
    signal_rows,
    slope_row,
    status_of,
    variance_row,
)
from metabench.probes.variance.measure_redraws import redraw_rows
from metabench.probes.variance.measure_seconds import seconds_row
from metabench.problems.tasks import Address
from metabench.records.rows import Row
from metabench.settings import amounts
from metabench.stats.moments import Moments

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject
    from metabench.probes.variance import Variance


def measure(
    probe: Variance,
    subject: Subject,
    seed: int,
    progress: Progress,
    parts: Sequence[Mapping[str, Array]] = (),
) -> list[Row]:
    """Return the rows of the variance at each B and, from the tasks of B = 1, all others.

    Args:
        probe: settings of the measurement.
        subject: the algorithm, problem and theta to measure.
        seed: of every draw.
        progress: called with the number of tasks done and of all tasks.
        parts: meta-gradients computed before, all batches at each B in order; () computes them.
    """
    held = amounts.memory(probe.memory)
    small = limit_chunk(subject, held)
    others = equal_cost_errors.comparison_subjects(probe.compare_with, small, seed)
    plan, total, done = probe.plan, cost(probe, subject), 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        progress(done, total)

    samples: dict[int, dict[str, Moments]] = {}
    outer_moments: dict[int, measure_outer_optimizer.OuterMoments] = {}
    rows: list[Row] = []
    independence: list[Row] = []
    start = 0
    for B, batches in plan.items():
        address = Address.fresh(start, B * batches)
        if parts:
            sample = store((each[str(B)] for each in parts), subject, batches, held)
            advance(B * batches)
        else:
            sample = gather(small, address, seed, B, held, advance)
        start += B * batches
        rows.append(diverged_row(B, sample.finite))
        if B == 1 and rows[-1].value:
            first = int(address.task[~sample.finite][0])
            rows.append(Row("first_diverged", value=float(first)))
        layout = subject.problem.layouts.theta
        samples[B] = by_layer(layout, [sample], Moments.from_samples, Moments.joined)
        outer_moments[B] = measure_outer_optimizer.moments_at(probe, sample, layout)
        independence += measure_independence.measure(small, sample, seed) if B == 1 else []
        del sample
    eps = torch.finfo(subject.theta.dtype).eps
    states = {B: status_of(layers[""], eps) for B, layers in samples.items()}
    heavy = measure_tails.measure(samples[1]) if states[1] == "ok" else []
    if measure_tails.variance_is_infinite(
        heavy
    ):  # no second moment: the sample's does not estimate the tasks'
        states = dict.fromkeys(plan, "withheld")
    whole = {B: layers[""] for B, layers in samples.items()}
    rows += [variance_row("variance", whole[B], states[B], at=float(B)) for B in plan]
    slope = slope_row(whole, states)
    refuted = independent_law([slope, *independence]) == "refuted"
    rows += [slope, *independence, *signal_rows(whole, states[1], refuted)]
    rows += [seconds_row(small, seed, B, start) for B in plan]
    rows += [*layer_rows(samples, states[1], refuted, eps), *heavy]
    rows += measure_outer_optimizer.rows(probe, outer_moments, states[1] == "ok")
    rows += measure_tails.distinct_tasks(subject, seed, probe.tasks)
    if small.compute.chunk < subject.compute.chunk:
        rows.append(Row("chunk", value=float(small.compute.chunk), status="reduced"))
    if probe.n_redraws:
        rows += redraw_rows(probe, small, seed, held, advance, states[1], start, others)
    progress(total, total)
    return rows


def cost(probe: Variance, subject: Subject) -> int:
    """Return the number of tasks of a whole measurement, counting each redraw."""
    total = sum(B * batches for B, batches in probe.plan.items())
    again = probe.n_redraws * (
        16 + measure_bias.cost(subject.algorithm, probe.shot_multiples, len(probe.compare_with))
    )
    return total + again + (probe.tasks if probe.budget and probe.n_redraws else 0)
