"""Which methods are compared: the unroll, its shortcuts, and implicit by each solver and budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from metabench.algorithms import counterparts
from metabench.algorithms.base import Algorithm
from metabench.linalg.solvers.cg import CG
from metabench.linalg.solvers.dense import Dense
from metabench.linalg.solvers.solver import Solver
from metabench.settings import registry

Make = Callable[[int], Algorithm]  # K -> the method with K inner steps
SMALL = 200  # parameters up to which the exact solve is dense
EXACT = 100  # products of conjugate gradients beyond
UNROLLED, FIRST, HESSIAN_FREE = "maml", "fomaml", "hf_maml"


@dataclasses.dataclass(frozen=True)
class Methods:
    """What is common to all methods: one inner loop, one pull, one batch."""

    like: Algorithm  # whose inner optimizer and mini-batches they share
    proximal_strength: float  # lambda
    size: int  # P

    def listed(
        self, solvers: tuple[str, ...], budgets: tuple[int, ...], truncate: int
    ) -> dict[str, Make]:
        """Name every method; those that take the pull from the problem come first."""
        like = self.like
        made: dict[str, Make] = {
            UNROLLED: partial(counterparts.exact, like),
            FIRST: partial(counterparts.first_order, like),
        }
        if truncate:
            made[f"truncated {truncate}"] = partial(counterparts.truncated, like, back=truncate)
        made[HESSIAN_FREE] = partial(counterparts.hessian_free, like)
        for name, solver in self.solvers(solvers, budgets).items():
            made[name] = self.implicit(solver)
        return made

    def solvers(self, names: tuple[str, ...], budgets: tuple[int, ...]) -> dict[str, Solver]:
        """Give every named solver at every budget, and a dense one where it is small."""
        found: dict[str, Solver] = {}
        for name in dict.fromkeys((*names, "dense")):
            cls = registry.load("solvers", name)
            fields = {field.name for field in dataclasses.fields(cls)}
            if "steps" in fields:
                found |= {f"{name} {budget}": cls(steps=budget) for budget in budgets}
            elif cls is not Dense or self.size <= SMALL:
                found[name] = cls()
        return found

    def implicit(self, solver: Solver) -> Make:
        """Give implicit MAML by this solver."""
        return partial(
            counterparts.implicit_with,
            self.like,
            proximal_strength=self.proximal_strength,
            solver=solver,
        )

    def exact(self) -> Solver:
        """Give the solver that counts as exact, in float64."""
        return Dense() if self.size <= SMALL else CG(steps=EXACT, tol=1e-12)


def pulls_in_problem(algorithm: Algorithm) -> bool:
    """Say whether a method takes its pull from the problem's inner loss, not from itself."""
    return algorithm.implicit() is None
