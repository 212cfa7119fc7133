"""Which estimator comes closest for the same tasks, and for the same seconds?"""

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
from metabench.stats import paired_estimators
from metabench.stats.moments import Moments

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


class Rival(NamedTuple):
    """An estimator with its meta-gradients of the same tasks; `apart` is what the exact one isn't.

    `of` names it in rows about its break-even with the exact one, and is empty for the pair that is
    always compared.
    """

    subject: Subject
    moments: Moments
    apart: Moments | None
    of: str = ""


def made(names: tuple[str, ...], subject: Subject, seed: int) -> list[Subject]:
    """Look at the same tasks through further algorithms, with the same inner loop.

    Raises:
        InvalidInput: if one has no inner loop to share, learns more than theta, or can't be
            applied.
    """
    algorithm, found = subject.algorithm, []
    if names and not isinstance(algorithm, Algorithm):
        raise InvalidInput(
            "probe.compare_with compares inner loops, and a black box shows none; leave it."
        )
    for name in names:
        cls = registry.load("algorithms", name)
        if not (isinstance(cls, type) and issubclass(cls, Algorithm)):
            raise InvalidInput(
                f"{name} has no inner loop to share; probe.compare_with can't hold it."
            )
        assert isinstance(algorithm, Algorithm)
        other = cls(
            steps=algorithm.steps, inner_optimizer=algorithm.inner_optimizer, batch=algorithm.batch
        )
        rival = subject.with_algorithm(other)
        if rival.theta.numel() != subject.theta.numel():
            raise InvalidInput(
                f"{name} learns more than theta, so its gradient has another length."
            )
        task = first_task(rival.draw(Address.fresh(0, 1), seed))
        other.check(rival.problem, rival.theta, task)
        found.append(rival)
    return found


def weigh(
    found: list[Rival], sizes: tuple[int, ...], seconds: Callable[[Subject], float]
) -> list[Row]:
    """Weigh variance against bias, for each B and for its seconds; the exact estimator is first.

    The mean squared error |bias|^2 + V1 / B is that of B tasks; `mse_same_seconds` that of as many
    as the exact estimator's B tasks leave time for.
    """
    rows, exact = [], found[0]
    cost = seconds(exact.subject)
    for each in found:
        name, own = named(each.subject.algorithm), cost
        own = cost if each is exact else seconds(each.subject)
        for B in sizes:
            error = paired_estimators.squared_error(each.moments, each.apart, B)
            rows.append(row("mse", error, at=float(B), of=name))
        for B in sizes:
            error = paired_estimators.squared_error(each.moments, each.apart, B * cost / own)
            rows.append(row("mse_same_seconds", error, at=float(B), of=name))
        rows.append(Row("seconds_per_task", of=name, value=own))
        if each.apart is None or _same(each.apart):
            continue
        tasks = paired_estimators.break_even(exact.moments, each.moments, each.apart)
        timed = paired_estimators.break_even(exact.moments, each.moments, each.apart, (cost, own))
        for quantity, interval in (("break_even", tasks), ("break_even_seconds", timed)):
            status = "ok" if math.isfinite(interval.high) else "unbounded"
            rows.append(row(quantity, interval, status, of=each.of))
    return rows


def named(algorithm: Estimator) -> str:
    """Give an algorithm's name, and tell truncated MAML from MAML."""
    return f"{algorithm.variant} {registry.name_of('algorithms', type(algorithm))}".strip()


def _same(apart: Moments) -> bool:
    return not apart.deviations.any() and apart.mean_squared == 0
