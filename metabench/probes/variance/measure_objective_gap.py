"""Gap of the few-shot objective to the many-shot one, and amplification over K = 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm
from metabench.probes.variance.collect import Sample
from metabench.probes.variance.paired_moments import bias_row, paired_moments
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


Collect = Callable[["Subject"], Sample]  # meta-gradients of another subject on the same tasks


def objective_gap(
    subject: Subject, whole: Algorithm, exact: Sample, multiples: list[int], collect: Collect
) -> list[Row]:  # fmt: skip
    r"""Compare the objective's gradient with the many-shot one, extrapolated in 1/shots.

    A smooth loss makes :math:`E g(m) = G + c / m + O(m^{-2})` at m times the shots, so that
    :math:`2 E g(2m) - E g(m)` is G to second order.

    Args:
        subject: what is measured.
        whole: the exact algorithm without inner mini-batches.
        exact: its meta-gradients.
        multiples: of the shots, ascending.
        collect: gives the meta-gradients of another subject on the same tasks.
    """
    if not multiples:
        return []
    if whole.steps == 0:
        return [Row("bias", of="objective", value=0.0, status="zero")]
    fuller = subject.with_algorithm(whole)
    by_multiple = {1: exact, **{m: collect(fuller.with_shots(m)) for m in multiples}}
    if not all(sample.finite.all() for sample in by_multiple.values()):
        return [Row("bias", of="objective", status="diverged")]
    *_, half, top = by_multiple.values()
    rows = []
    for m, sample in by_multiple.items():
        gap = paired_moments(subject, sample, half, top, weights=(1.0, 1.0, -2.0))
        rows.append(bias_row(gap[""], of="objective", at=float(m)))
        if m == 1:
            rows += [bias_row(gap[layer], of="objective", layer=layer) for layer in gap]
    return rows


def amplification(
    subject: Subject, algorithm: Algorithm, sample: Sample, collect: Collect
) -> list[Row]:
    """Compare the variance with that of the plain query gradient at theta.

    Args:
        subject: what is measured.
        algorithm: the estimator.
        sample: its meta-gradients.
        collect: gives the meta-gradients of another subject on the same tasks.
    """
    if algorithm.steps == 0:
        return []
    plain = collect(subject.with_algorithm(replace(algorithm, steps=0, batch=0)))
    if not plain.finite.all():
        return [Row("amplification", status="diverged")]
    top, bottom = paired_moments(subject, sample), paired_moments(subject, plain)
    rows = (
        row("amplification", paired_estimators.variance_ratio(top[x], bottom[x]), layer=x)
        for x in top
    )
    return [r if r.value is not None else r._replace(status="degenerate") for r in rows]


def shot_multiples_of(shot_multiples: int) -> list[int]:
    """Return 2, 4, .. up to `shot_multiples`; the extrapolation needs two of these."""
    return [2**i for i in range(1, shot_multiples.bit_length())] if shot_multiples >= 4 else []
