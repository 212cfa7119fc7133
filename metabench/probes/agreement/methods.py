"""The methods compared: unroll, truncation, first order, Hessian-free, and implicit solvers."""

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

MakeMethod = Callable[[int], Algorithm]  # K -> the method with K inner steps
LARGEST_DENSE = 200  # parameters up to which the exact solve is dense
EXACT_PRODUCTS = 100  # of conjugate gradients, the exact solve of larger problems
UNROLLED, FIRST, HESSIAN_FREE = "maml", "fomaml", "hf_maml"


@dataclasses.dataclass(frozen=True)
class Methods:
    """The methods to compare, which share one inner loop and one proximal strength."""

    like: Algorithm  # the inner optimizer and mini-batches are its
    proximal_strength: float  # lambda
    size: int  # P

    def listed(
        self, solvers: tuple[str, ...], budgets: tuple[int, ...], truncate: int
    ) -> dict[str, MakeMethod]:
        """Return every method by name, those that need a proximal problem first.

        Args:
            solvers: names of the linear solvers of implicit differentiation.
            budgets: steps of each iterative solver.
            truncate: steps of truncated backpropagation; 0 leaves it out.
        """
        like = self.like
        made: dict[str, MakeMethod] = {
            UNROLLED: partial(counterparts.exact, like),
            FIRST: partial(counterparts.first_order, like),
        }
        if truncate:
            made[f"truncated {truncate}"] = partial(counterparts.truncated, like, truncate=truncate)
        made[HESSIAN_FREE] = partial(counterparts.hessian_free, like)
        for name, solver in self.solvers(solvers, budgets).items():
            made[name] = self.implicit(solver)
        return made

    def solvers(self, names: tuple[str, ...], budgets: tuple[int, ...]) -> dict[str, Solver]:
        """Return every named solver at every budget, and the dense one if the problem is small."""
        found: dict[str, Solver] = {}
        for name in dict.fromkeys((*names, "dense")):
            cls = registry.load("solvers", name)
            fields = {field.name for field in dataclasses.fields(cls)}
            if "steps" in fields:
                found |= {f"{name} {budget}": cls(steps=budget) for budget in budgets}
            elif cls is not Dense or self.size <= LARGEST_DENSE:
                found[name] = cls()
        return found

    def implicit(self, solver: Solver) -> MakeMethod:
        """Return implicit MAML with this solver."""
        return partial(
            counterparts.implicit_with,
            self.like,
            proximal_strength=self.proximal_strength,
            solver=solver,
        )

    def exact(self) -> Solver:
        """Return the solver that is taken as exact in float64."""
        return Dense() if self.size <= LARGEST_DENSE else CG(steps=EXACT_PRODUCTS, tol=1e-12)


def needs_proximal_problem(algorithm: Algorithm) -> bool:
    """Return whether the inner loss needs the proximal term; implicit methods add it themselves."""
    return algorithm.implicit() is None
