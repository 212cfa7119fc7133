"""Hold a gradient to the algorithm that it implements, and to what known slips would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from metabench.algorithms import adjoint_factors, counterparts
from metabench.algorithms.base import Algorithm, Loop, MetaGrad
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import OWN_GRADIENT, OWN_LOSS
from metabench.probes.verify.measure_round_off import above_round_off, check, worst
from metabench.problems.tasks import Task, tree_map
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

UNKNOWN = "second order"  # the cause of a slip in second-order terms that is not recognized
MATCHED = 1e-6  # relative difference up to which a gradient is another one
RATES = (2.0, 0.5, 10.0, 0.1)  # times the inner rate
ROUNDED = 1e-4  # difference of a fitted factor from 1 that is none


def implemented(
    subject: Subject,
    algorithm: Algorithm,
    tasks: Task,
    found: MetaGrad,
    spread: Callable[[], float],
) -> list[Row]:
    """Return checks of loss and gradient against metabench's own algorithm.

    Args:
        subject: at a theta in float64.
        algorithm: what the estimator is meant to be.
        tasks: with a leading axis.
        found: the estimates of these tasks.
        spread: measures how far the estimates move with the last digits of theta.
    """
    own = _estimates(subject, algorithm, tasks)
    rows = [check(OWN_GRADIENT, worst(found.grad, own.grad), "not implemented")]
    if not found.loss.isnan().all():
        off = worst(found.loss[:, None], own.loss[:, None])
        rows.insert(0, check(OWN_LOSS, off, "not implemented"))
    return [above_round_off(row, spread) for row in rows]


def slips(subject: Subject, algorithm: Algorithm, tasks: Task, grads: Tensor) -> list[Row]:
    """Return rows on the known slip of an algorithm that gives a gradient, if there is one.

    Args:
        subject: at a theta in float64.
        algorithm: what the estimator is meant to be, exact.
        tasks: with a leading axis.
        grads: the gradients that were given, `(T, Q)`.
    """
    if worst(grads, _estimates(subject, algorithm, tasks).grad) <= MATCHED:
        return []  # the fault is in what the algorithm differentiates
    for row, other in _other_gradients(subject, algorithm, tasks):
        if worst(grads, other) <= MATCHED:
            return [row]
    loop = algorithm.loop(subject.problem)
    if loop is None or not loop.inner_optimizer.plain or loop.rates is not None:
        return []
    return _in_the_recursion(subject, algorithm, loop, tasks, grads)


def _estimates(subject: Subject, algorithm: Algorithm, tasks: Task) -> MetaGrad:
    result: MetaGrad = Vectorization("loop").per_task(
        lambda theta, task: algorithm(subject.problem, theta, task)
    )(subject.theta, tasks)
    return result


def _other_gradients(
    subject: Subject, algorithm: Algorithm, tasks: Task
) -> Iterator[tuple[Row, Tensor]]:
    """Yield gradients with another number of steps or rate, first order, and of all steps."""
    K, optimizer = algorithm.steps, algorithm.inner_optimizer

    def made(other: Algorithm) -> Tensor:
        return _estimates(subject, other, tasks).grad

    first = counterparts.first_order(algorithm, K)
    yield Row("cause", of="first order", status="info"), made(first)
    for steps in {max(K - 1, 0), K + 1, 0} - {K}:
        row = Row("cause", at=float(steps), of="steps", value=float(K), status="info")
        yield row, made(replace(algorithm, steps=steps))
    for factor in {*RATES, 1 / K if K else 1.0} - {1.0}:
        other = replace(optimizer, rate=factor * optimizer.rate)
        row = Row("cause", of="rate", value=factor, status="info")
        yield row, made(replace(algorithm, inner_optimizer=other))
    every = [made(replace(algorithm, steps=k)) for k in range(1, K + 1)]
    if len(every) > 1:
        yield Row("cause", of="all steps", status="info"), torch.stack(every).mean(0)


def _in_the_recursion(
    subject: Subject, algorithm: Algorithm, loop: Loop, tasks: Task, grads: Tensor
) -> list[Row]:
    """Return rows on second-order terms that are missing, scaled, or taken elsewhere.

    Args:
        subject: at a theta in float64.
        algorithm: exact.
        loop: its plain inner loop.
        tasks: with a leading axis.
        grads: the gradients that were given, `(T, Q)`.
    """
    singles: list[Task] = [tree_map(lambda x, i=i: x[i], tasks) for i in range(len(grads))]
    runs = [
        adjoint_factors.unrolled(loop, algorithm.steps, subject.problem, subject.theta, task)
        for task in singles
    ]
    whole = {
        "query Hessian": [run.gradient(products=run.query) for run in runs],
        "first Hessian": [
            run.gradient(products=run.products[:1] * algorithm.steps) for run in runs
        ],
        "order": [run.gradient(products=run.products[::-1]) for run in runs],
    }
    for name, gradients in whole.items() if algorithm.steps else ():
        if worst(grads, torch.stack(gradients)) <= MATCHED:
            return [Row("cause", of=name, status="info")]
    layers = adjoint_factors.fit_by_layer(runs, grads)
    if layers.error <= adjoint_factors.MATCHED:
        return _layer_rows(subject, layers.factors)
    steps = adjoint_factors.fit_by_step(runs, grads)
    if steps.error <= adjoint_factors.MATCHED:
        wrong = [k for k, c in enumerate(steps.factors.tolist()) if abs(c - 1) > ROUNDED]
        return [_cause("step", steps.factors[k], at=k + 1.0) for k in wrong]
    return [Row("cause", of=UNKNOWN, status="info")]


def _layer_rows(subject: Subject, factors: Tensor) -> list[Row]:
    """Return a row for each layer whose terms are scaled, or one if all are alike."""
    names = subject.problem.layouts.phi.names
    if len(names) > 1 and float((factors - factors[0]).abs().max()) <= ROUNDED:
        return [_cause("all layers", factors[0])]
    wrong = [i for i, c in enumerate(factors.tolist()) if abs(c - 1) > ROUNDED]
    return [_cause("layer", factors[i], layer=names[i]) for i in wrong]


def _cause(of: str, factor: Tensor, layer: str = "", at: float | None = None) -> Row:
    value = round(float(factor), 6) + 0.0
    return Row("cause", of=of, value=value, layer=layer, at=at, status="info")
