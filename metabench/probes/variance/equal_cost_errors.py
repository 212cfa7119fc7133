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
from metabench.stats import paired_estimators
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
    found: list[PairedEstimator], sizes: tuple[int, ...], seconds: Callable[[Subject], float]
) -> list[Row]:
    """Return the rows of each estimator's error and break-even; the exact estimator is first.

    The mean squared error |bias|^2 + V1 / B is that of B tasks; `mse_same_seconds` that of as many
    tasks as take the same time as the exact estimator's B tasks.

    Args:
        found: the estimators on the same tasks.
        sizes: task batch sizes B.
        seconds: returns the time of one task.
    """
    rows, exact = [], found[0]
    cost = seconds(exact.subject)
    for each in found:
        name = algorithm_name(each.subject.algorithm)
        task_seconds = cost if each is exact else seconds(each.subject)
        for B in sizes:
            error = paired_estimators.squared_error(each.moments, each.difference, B)
            rows.append(row("mse", error, at=float(B), of=name))
        for B in sizes:
            error = paired_estimators.squared_error(
                each.moments, each.difference, B * cost / task_seconds
            )
            rows.append(row("mse_same_seconds", error, at=float(B), of=name))
        rows.append(Row("seconds_per_task", of=name, value=task_seconds))
        if each.difference is None or _is_zero(each.difference):
            continue
        tasks = paired_estimators.break_even(exact.moments, each.moments, each.difference)
        timed = paired_estimators.break_even(
            exact.moments, each.moments, each.difference, (cost, task_seconds)
        )
        small = paired_estimators.break_even(
            exact.moments, each.moments, each.difference, (NEGLIGIBLE_ERROR, 1.0)
        )
        limits = (
            ("break_even", tasks), ("break_even_seconds", timed), ("negligible_up_to", small),
        )  # fmt: skip
        for quantity, interval in limits:
            status = "ok" if math.isfinite(interval.high) else "unbounded"
            rows.append(row(quantity, interval, status, of=each.of))
    return rows


def algorithm_name(algorithm: Estimator) -> str:
    """Return an algorithm's name with its variant, such as truncated."""
    name = printed_name(registry.name_of("algorithms", type(algorithm)))
    return f"{algorithm.variant} {name}".strip()


def _is_zero(difference: Moments) -> bool:
    return not difference.deviations.any() and difference.mean_squared == 0
