"""Who is priced: every listed algorithm on the same inner loop, and autograd through its unroll."""

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

Make = Callable[[int], Algorithm]


@dataclass(frozen=True)
class Autograd(Algorithm):
    """Reverse mode through the whole unrolled loop, every step's graph kept.

    The numbers of maml at the price of what other libraries do
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761).
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`."""

        def outer(at: Tensor) -> tuple[Tensor, Tensor]:
            phi = adapt(self.inner_optimizer, self.steps, problem, at, task, NO_BACKWARD).last
            return problem.outer_loss(phi, at, task.query), phi

        (loss, phi), pull = derivatives.vjp_of(outer, theta)
        return MetaGrad(pull((loss.new_ones(()), phi.new_zeros(phi.shape)))[0], loss, phi, {})


def comparison_algorithms(subject: Subject, seed: int) -> tuple[dict[str, Make], list[Row]]:
    """Give every algorithm that can be run here on the subject's inner optimizer, by name.

    Rivals see theta as it is without what the subject's own algorithm learns besides; others that
    learn more than theta have another meta-gradient, and are left out. One that refuses the
    problem, or an operation of it, is left out with a row that says why; what the subject's own
    algorithm, its sampler or its losses raise is raised.
    """
    own = subject.algorithm
    assert isinstance(own, Algorithm)
    task = first_task(subject.draw(Address.fresh(0, 1), seed))
    made: dict[str, Make] = {}
    rows = []
    for name in registry.members("algorithms"):
        make = _maker(registry.load("algorithms", name), own)
        why = _against(subject, make, task, seed)
        if why is None:
            made[name] = make
        elif why:
            of = f"{name} isn't priced: {why.rstrip('.')}; the other algorithms are"
            rows.append(Row("unavailable", of=of, status="withheld"))

    def unroll(K: int) -> Autograd:
        return Autograd(K, own.inner_optimizer, own.batch)

    why = _against(subject, unroll, task, seed)
    if why is None:
        made[UNROLL] = unroll
    else:
        of = f"{UNROLL} isn't priced: {why.rstrip('.')}; the other algorithms are"
        rows.append(Row("unavailable", of=of, status="withheld"))
    return made, rows


def _maker(cls: type[Algorithm], own: Algorithm) -> Make:
    if type(own) is cls:
        return lambda K: replace(own, steps=K)
    return lambda K: cls(K, own.inner_optimizer, own.batch)


def _against(subject: Subject, make: Make, task: Task, seed: int) -> str | None:
    """Say why an algorithm isn't run here: None if it is, "" if it learns more and isn't one's own.

    Only a refusal (InvalidInput) and what torch can't compute (RuntimeError) speak against it, and
    neither where the algorithm is the subject's own.
    """
    algorithm = None
    plain = (subject.problem.base or subject.problem).layouts.theta.size
    try:
        algorithm = make(max(_steps(subject), 1))
        looked = subject.with_algorithm(algorithm)
        if len(looked.theta) != plain and type(algorithm) is not type(subject.algorithm):
            return ""
        algorithm.check(looked.problem, looked.theta, task)
        looked.meta_gradients(Address.fresh(0, 2), seed)
    except (InvalidInput, RuntimeError) as error:
        if type(algorithm) is type(subject.algorithm):
            raise
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _steps(subject: Subject) -> int:
    return subject.algorithm.steps if isinstance(subject.algorithm, Algorithm) else 1
