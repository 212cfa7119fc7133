"""Errors of several estimators for equal tasks, and for equal time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from metabench.algorithms.base import Algorithm, Estimator
from metabench.estimation.vectorization import first_task
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.settings import registry
from metabench.settings.errors import InvalidInput
from metabench.settings.printed_names import printed_name
from metabench.stats import equal_time, paired_estimators
from metabench.stats.intervals import Interval
from metabench.stats.moments import Moments

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

NEGLIGIBLE_ERROR = 1.05  # times the exact error: 5 % of V1/B where variances are equal


class PairedEstimator(NamedTuple):
    """An estimator, the moments of its meta-gradients, and of their difference from the exact ones.

    `of` names it in the rows of its break-even with the exact one; it is empty for the pair that is
    always compared.
    """

    subject: Subject
    moments: Moments
    difference: Moments | None  # None: it is the exact one
    of: str = ""


def comparison_subjects(names: tuple[str, ...], subject: Subject, seed: int) -> list[Subject]:
    """Return subjects of further algorithms, with the same tasks and the same inner loop.

    Args:
        names: of the algorithms, in the registry or as module:Class.
        subject: whose algorithm has the inner loop.
        seed: of the task that each algorithm is checked on.

    Raises:
        InvalidInput: if one has no inner loop, learns more than theta, or can't be applied.
    """
    algorithm, found = subject.algorithm, []
    if names and not isinstance(algorithm, Algorithm):
        raise InvalidInput(
            "probe.compare_with needs the inner loop, which a black box doesn't show; leave it out."
        )
    for name in names:
        cls = registry.load("algorithms", name)
        if not (isinstance(cls, type) and issubclass(cls, Algorithm)):
            raise InvalidInput(f"{name} has no inner loop, so probe.compare_with can't use it.")
        assert isinstance(algorithm, Algorithm)
        other = cls(
            steps=algorithm.steps, inner_optimizer=algorithm.inner_optimizer, batch=algorithm.batch
        )
        candidate = subject.with_algorithm(other)
        if candidate.theta.numel() != subject.theta.numel():
            raise InvalidInput(
                f"{name} learns more than theta, so its meta-gradient has a different length."
            )
        task = first_task(candidate.draw(Address.fresh(0, 1), seed))
        other.check(candidate.problem, candidate.theta, task)
        found.append(candidate)
    return found


def error_rows(
    found: list[PairedEstimator],
    sizes: tuple[int, ...],
    seconds: Callable[[Subject], Interval],
    timed: bool,
) -> list[Row]:
    """Return the rows of each estimator's error and break-even; the exact estimator is first.

    The mean squared error |bias|^2 + V1 / B is that of B tasks.

    Args:
        found: the estimators on the same tasks.
        sizes: task batch sizes B.
        seconds: returns the time of one task; its interval is needed where `timed`.
        timed: also compare errors for equal time.
    """
    rows, exact = [], found[0]
    cost = seconds(exact.subject)
    for each in found:
        name = algorithm_name(each.subject.algorithm)
        task_seconds = cost if each is exact else seconds(each.subject)
        for B in sizes:
            error = paired_estimators.squared_error(each.moments, each.difference, B)
            rows.append(row("mse", error, at=float(B), of=name))
        rows.append(row("seconds_per_task", task_seconds, of=name))
        if timed:
            rows += _timed_rows(each, sizes, cost, task_seconds, each is exact)
        if each.difference is not None and not _is_zero(each.difference):
            rows += _break_even_rows(exact, each, (cost, task_seconds) if timed else None)
    return rows


def _timed_rows(
    each: PairedEstimator,
    sizes: tuple[int, ...],
    cost: Interval,
    task_seconds: Interval,
    is_exact: bool,
) -> list[Row]:
    """Return the error with as many tasks as take the time of the exact estimator's B tasks."""
    rows = []
    for size in sizes:
        B = Interval(*[float(size)] * 3)
        if not is_exact:
            B = equal_time.tasks_for_equal_time(size, cost, task_seconds)
        error = equal_time.squared_error(each.moments, each.difference, B)
        name = algorithm_name(each.subject.algorithm)
        rows.append(row("mse_same_seconds", error, at=float(size), of=name))
    return rows


def _break_even_rows(
    exact: PairedEstimator, each: PairedEstimator, seconds: tuple[Interval, Interval] | None
) -> list[Row]:
    """Return the limits above which the exact estimator has the smaller error, or 5 % less.

    Args:
        exact: the exact estimator.
        each: the other one.
        seconds: time of one task of both; None: nothing is said about time.
    """
    assert each.difference is not None
    three = exact.moments, each.moments, each.difference
    limits = {"break_even": paired_estimators.break_even(*three)}
    if seconds is not None:
        limits["break_even_seconds"] = equal_time.break_even(*three, seconds)
    limits["negligible_up_to"] = paired_estimators.break_even(*three, (NEGLIGIBLE_ERROR, 1.0))
    return [
        row(quantity, interval, "unbounded" if interval.high == math.inf else "ok", of=each.of)
        for quantity, interval in limits.items()
    ]


def algorithm_name(algorithm: Estimator) -> str:
    """Return an algorithm's name with its variant, such as truncated."""
    name = printed_name(registry.name_of("algorithms", type(algorithm)))
    return f"{algorithm.variant} {name}".strip()


def _is_zero(difference: Moments) -> bool:
    return not difference.deviations.any() and difference.mean_squared == 0
