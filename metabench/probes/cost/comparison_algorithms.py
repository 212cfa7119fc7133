"""The algorithms to compare: all that run on the subject's inner loop, and plain autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, MetaGrad
from metabench.autodiff import derivatives
from metabench.estimation.vectorization import first_task
from metabench.probes.cost import UNROLL
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.records.rows import Row
from metabench.settings import registry
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.estimation.estimator_on_tasks import Subject

MakeAlgorithm = Callable[[int], Algorithm]  # K -> the algorithm with K inner steps


@dataclass(frozen=True)
class Autograd(Algorithm):
    """Reverse mode through the whole unrolled loop, which keeps the graph of every step.

    The meta-gradient is that of maml; the cost is that of other libraries
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761).
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Return the meta-gradient `(Q,)` of one task at theta `(Q,)`."""

        def outer(at: Tensor) -> tuple[Tensor, Tensor]:
            phi = adapt(self.inner_optimizer, self.steps, problem, at, task, NO_BACKWARD).last
            return problem.outer_loss(phi, at, task.query), phi

        (loss, phi), vjp = derivatives.vjp_of(outer, theta)
        return MetaGrad(vjp((loss.new_ones(()), phi.new_zeros(phi.shape)))[0], loss, phi, {})


def comparison_algorithms(
    subject: Subject, seed: int
) -> tuple[dict[str, MakeAlgorithm], list[Row]]:
    """Return every algorithm that runs on the subject's inner optimizer, and rows on the others.

    All get theta without parameters that the subject's algorithm appended to it. Other algorithms
    that append parameters are left out, because their meta-gradient is another vector. One that
    fails on the problem is left out with a row that gives the reason; errors of the subject's own
    algorithm, its sampler or its losses are raised.
    """
    own = subject.algorithm
    assert isinstance(own, Algorithm)
    task = first_task(subject.draw(Address.fresh(0, 1), seed))
    made: dict[str, MakeAlgorithm] = {}
    classes, broken = registry.load_all("algorithms")
    rows = [_unavailable(name, why) for name, why in broken.items()]
    for name, cls in classes.items():
        make = _with_steps(cls, own)
        why = _reason_left_out(subject, make, task, seed)
        if why is None:
            made[name] = make
        elif why:
            rows.append(_unavailable(name, why))

    def unroll(K: int) -> Autograd:
        return Autograd(K, own.inner_optimizer, own.batch)

    why = _reason_left_out(subject, unroll, task, seed)
    if why is None:
        made[UNROLL] = unroll
    else:
        rows.append(_unavailable(UNROLL, why))
    return made, rows


def _unavailable(name: str, why: str) -> Row:
    of = f"{name} does not run here ({why.rstrip('.')}); compare the other algorithms"
    return Row("unavailable", of=of, status="withheld")


def _with_steps(cls: type[Algorithm], own: Algorithm) -> MakeAlgorithm:
    if type(own) is cls:
        return lambda K: replace(own, steps=K)
    return lambda K: cls(K, own.inner_optimizer, own.batch)


def _reason_left_out(subject: Subject, make: MakeAlgorithm, task: Task, seed: int) -> str | None:
    """Return why an algorithm is left out: None if it runs, "" if it appends parameters to theta.

    Only InvalidInput and RuntimeError (of torch) are reasons; they are raised if the algorithm is
    the subject's own, which may also append parameters.
    """
    algorithm = None
    plain = (subject.problem.base or subject.problem).layouts.theta.size
    try:
        algorithm = make(max(_steps(subject), 1))
        compared = subject.with_algorithm(algorithm)
        if len(compared.theta) != plain and type(algorithm) is not type(subject.algorithm):
            return ""
        algorithm.check(compared.problem, compared.theta, task)
        compared.meta_gradients(Address.fresh(0, 2), seed)
    except (InvalidInput, RuntimeError, TypeError) as error:  # the last: another package's fields
        if type(algorithm) is type(subject.algorithm):
            raise
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _steps(subject: Subject) -> int:
    return subject.algorithm.steps if isinstance(subject.algorithm, Algorithm) else 1
