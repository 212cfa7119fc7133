"""Bias of the estimator, gap between the few-shot and many-shot objectives, and amplification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from metabench.algorithms import counterparts
from metabench.algorithms.base import Algorithm, Estimator
from metabench.estimation.vectorization import first_task
from metabench.probes.variance.collect import Sample, gather
from metabench.probes.variance.equal_cost_errors import (
    PairedEstimator,
    algorithm_name,
    error_rows,
)
from metabench.probes.variance.measure_objective_gap import (
    amplification,
    objective_gap,
    shot_multiples_of,
)
from metabench.probes.variance.paired_moments import bias_row, paired_moments
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators
from metabench.stats.intervals import Interval

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

Collect = Callable[["Subject"], Sample]  # meta-gradients of another subject on the same tasks
OBJECTIVE_RTOL = 1e-4  # relative difference of two values of one objective


class Pair(NamedTuple):
    """An estimator and the one it is compared with: one of the two is exact."""

    estimator: Algorithm
    other: Algorithm | None  # None: `estimator` is exact, and has no known shortcut
    reference: Algorithm  # the exact estimator of their objective
    exact: bool  # `estimator` is exact


def pair(algorithm: Estimator) -> Pair | None:
    """Pair an estimator with its exact reference, or an exact one with its first-order variant.

    An estimator is its own reference only if both have the same class; a subclass is measured.
    """
    reference = algorithm.reference()
    if reference is None or not isinstance(algorithm, Algorithm):
        return None
    if not (algorithm.exact and type(algorithm) is type(reference)):
        return Pair(algorithm, reference, reference, False)
    known = counterparts.is_exact(algorithm)
    other = counterparts.first_order(algorithm, algorithm.steps) if known else None
    return Pair(algorithm, other, reference, True)


def cost(algorithm: Estimator, shot_multiples: int, others: int = 0) -> int:
    """Return the number of meta-gradients per task that the biases take.

    Args:
        algorithm: the estimator.
        shot_multiples: largest multiple of the shots.
        others: number of further algorithms compared.
    """
    if algorithm.implicit():
        return 1 + len(shot_multiples_of(shot_multiples))
    held = pair(algorithm)
    if held is None:
        return 0
    return (
        1
        + (held.other is not None)
        + (held.estimator.steps > 0)
        + len(shot_multiples_of(shot_multiples))
        + others
    )


def measure(
    subject: Subject,
    seed: int,
    tasks: int,
    shot_multiples: int,
    memory: int,
    advance: Callable[[int], None],
    sizes: tuple[int, ...],
    seconds: Callable[[Subject], Interval],
    others: list[Subject],
) -> list[Row]:
    """Return the rows of biases, errors at each B, and amplification over K = 0.

    Args:
        subject: the algorithm, problem and theta to measure.
        seed: of every draw.
        tasks: number of tasks.
        shot_multiples: largest multiple of the shots, 0 for no objective gap.
        memory: bytes that may be used.
        advance: called with the number of meta-gradients done since the last call.
        sizes: task batch sizes B.
        seconds: returns the time of one task, with its interval if there are `others`.
        others: subjects of further algorithms.
    """
    address = Address.fresh(0, tasks)

    def collect(other: Subject) -> Sample:
        return gather(other, address, seed, 1, memory, advance)

    if subject.algorithm.implicit():
        return _implicit(subject, shot_multiples, collect)
    held = pair(subject.algorithm)
    counterpart = subject.with_algorithm(held.other) if held and held.other else None
    if held is None or (counterpart and not _one_objective(subject, counterpart, seed)):
        return _both("no_reference")
    sample = collect(subject)
    other = collect(counterpart) if counterpart else sample
    if not (sample.finite.all() and other.finite.all()):
        return _both("diverged")
    rows = _estimator(subject, sample, other, held.exact)
    if subject.algorithm.exact and rows[0].status == "ok":  # a bias distinguishable from zero
        rows.append(Row("claim", of="exact", status="refuted"))
    exactly, exact, shorts = (
        subject,
        sample,
        [_errors(counterpart, sample, other)] if counterpart else [],
    )
    if counterpart and not held.exact:
        exactly, exact, shorts = counterpart, other, [_errors(subject, other, sample)]
    found = [PairedEstimator(exactly, paired_moments(subject, exact)[""], None), *shorts]
    rows += _others(others, exact, found, collect)
    rows += error_rows(found, sizes, seconds, timed=bool(others))
    rows += objective_gap(
        exactly, replace(held.reference, batch=0), exact, shot_multiples_of(shot_multiples), collect
    )
    return rows + amplification(subject, held.estimator, sample, collect)


def _others(
    others: list[Subject], exact: Sample, found: list[PairedEstimator], collect: Collect
) -> list[Row]:
    """Compare further algorithms with the exact one, and append them to `found`."""
    rows = []
    for each in others:
        sample, name = collect(each), algorithm_name(each.algorithm)
        if not sample.finite.all():
            rows.append(Row("bias", of=name, status="diverged"))
        elif name not in [algorithm_name(known.subject.algorithm) for known in found]:
            found.append(_errors(each, exact, sample, name))
            rows.append(bias_row(found[-1].difference or found[-1].moments, of=name))
    return rows


def _both(status: str) -> list[Row]:
    """Return rows with the status of both biases."""
    return [Row("bias", of=of, status=status) for of in ("estimator", "objective")]


def _implicit(subject: Subject, shot_multiples: int, collect: Collect) -> list[Row]:
    """Return the objective gap of an implicit estimator, whose own bias is withheld."""
    rows = [Row("bias", of="estimator", status="no_reference")]
    sample = collect(subject)
    if not sample.finite.all():
        return [*rows, Row("bias", of="objective", status="diverged")]
    assert isinstance(subject.algorithm, Algorithm)
    alone = replace(subject.algorithm, batch=0)
    return [
        *rows,
        *objective_gap(subject, alone, sample, shot_multiples_of(shot_multiples), collect),
    ]


def _one_objective(subject: Subject, counterpart: Subject, seed: int) -> bool:
    """Whether both differentiate the same number on the first task, in a theta of one length.

    The reference that an algorithm inherits or declares may be wrong.
    """
    if counterpart.theta.shape != subject.theta.shape:
        return False
    task = first_task(subject.draw(Address.fresh(0, 1), seed))
    one, other = (
        each.algorithm.differentiated(each.problem, each.theta, task).detach()
        for each in (subject, counterpart)
    )
    return torch.allclose(one, other, rtol=OBJECTIVE_RTOL, atol=0.0, equal_nan=True)


def _estimator(subject: Subject, sample: Sample, other: Sample, exact: bool) -> list[Row]:
    """Return the estimator's bias and angle to the exact meta-gradient of its objective."""
    if exact:
        return [Row("bias", of="estimator", status="declared")]
    apart = paired_moments(subject, sample, other, weights=(1.0, -1.0))
    if not apart[""].deviations.any() and apart[""].mean_squared == 0:
        return [Row("bias", of="estimator", value=0.0, status="zero")]
    first, second = paired_moments(subject, sample), paired_moments(subject, other)
    rows = [bias_row(apart[layer], of="estimator", layer=layer) for layer in apart]
    for layer in apart:
        angle = row("cosine", paired_estimators.cosine(first[layer], second[layer], apart[layer]),
                    of="estimator", layer=layer)  # fmt: skip
        rows.append(angle._replace(status="unresolved") if angle.low is None else angle)
    return rows


def _errors(subject: Subject, exact: Sample, sample: Sample, of: str = "") -> PairedEstimator:
    """Pair an estimator's meta-gradients with the exact ones, for the whole."""
    apart = paired_moments(subject, sample, exact, weights=(1.0, -1.0))[""]
    return PairedEstimator(subject, paired_moments(subject, sample)[""], apart, of)
