"""Who is priced: every listed algorithm on the same inner loop, and autograd through its unroll."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metabench import curvature, plugins
from metabench.algorithms.algorithm import Algorithm, MetaGrad
from metabench.inner import FORGET, adapt
from metabench.misuse import Misuse
from metabench.problem import Address, Problem, Task

if TYPE_CHECKING:
    from torch import Tensor

    from metabench.subject import Subject

Make = Callable[[int], Algorithm]
EXACT, UNROLL = "maml", "autograd"


@dataclass(frozen=True)
class Autograd(Algorithm):
    """Reverse mode through the whole unrolled loop, every step's graph kept.

    The numbers of maml at the price of what other libraries do
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761).
    """

    def __call__(self, problem: Problem, theta: Tensor, task: Task) -> MetaGrad:
        """Give the meta-gradient `(Q,)` of one task at theta `(Q,)`."""

        def outer(at: Tensor) -> tuple[Tensor, Tensor]:
            phi = adapt(self.step, self.steps, problem, at, task, FORGET).last
            return problem.outer_loss(phi, at, task.query), phi

        (loss, phi), pull = curvature.pullback_of(outer, theta)
        return MetaGrad(pull((loss.new_ones(()), phi.new_zeros(phi.shape)))[0], loss, phi, {})


def rivals(subject: Subject, seed: int) -> dict[str, Make]:
    """Give every algorithm that can be run here on the subject's inner optimiser, by name.

    One that learns more than theta has another meta-gradient, and is left out; so is one that
    refuses the problem. The subject's own keeps its settings.
    """
    own = subject.algorithm
    assert isinstance(own, Algorithm)
    made: dict[str, Make] = {}
    for name in plugins.members("algorithms"):
        make = _maker(plugins.load("algorithms", name), own)
        if _runs(subject, make, seed):
            made[name] = make
    made[UNROLL] = lambda K: Autograd(K, own.step, own.batch)
    return made


def _maker(cls: type[Algorithm], own: Algorithm) -> Make:
    if type(own) is cls:
        return lambda K: replace(own, steps=K)
    return lambda K: cls(K, own.step, own.batch)


def _runs(subject: Subject, make: Make, seed: int) -> bool:
    try:
        algorithm = make(max(_steps(subject), 1))
        looked = subject.with_algorithm(algorithm)
        if looked.theta.shape != subject.theta.shape:
            return False
        looked.meta_gradients(Address.fresh(0, 2), seed)
    except (Misuse, RuntimeError, TypeError, ValueError):
        return False
    return True


def _steps(subject: Subject) -> int:
    return subject.algorithm.steps if isinstance(subject.algorithm, Algorithm) else 1
