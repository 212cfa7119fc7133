"""The ways to a meta-gradient that are compared on one inner loop, each made like an algorithm.

They share its inner optimizer and its mini-batches, and take so many inner steps.
"""

from __future__ import annotations

from metabench.algorithms.base import Algorithm
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.hf_maml import HFMAML
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.maml import MAML
from metabench.linalg.solvers.solver import Solver


def exact(like: Algorithm, steps: int) -> Algorithm:
    """Give the exact gradient of the query loss after adaptation."""
    return MAML(steps, like.inner_optimizer, like.batch)


def is_exact(algorithm: Algorithm) -> bool:
    """Whether an algorithm is `exact` itself; what a subclass makes of it isn't known to be."""
    return type(algorithm) is MAML and algorithm.exact


def truncated(like: Algorithm, steps: int, back: int) -> Algorithm:
    """Give the gradient through the last so many inner steps alone."""
    return MAML(steps, like.inner_optimizer, like.batch, truncate=back)


def first_order(like: Algorithm, steps: int) -> Algorithm:
    """Give the gradient without any second derivative."""
    return FOMAML(steps, like.inner_optimizer, like.batch)


def hessian_free(like: Algorithm, steps: int) -> Algorithm:
    """Give the gradient by differences of inner gradients."""
    return HFMAML(steps, like.inner_optimizer, like.batch)


def implicit(like: Algorithm, steps: int) -> Algorithm:
    """Give the implicit gradient by the pull and the solver that it has unless told otherwise."""
    return IMAML(steps, like.inner_optimizer, like.batch)


def implicit_with(
    like: Algorithm, steps: int, proximal_strength: float, solver: Solver
) -> Algorithm:
    """Give the implicit gradient at the minimum under a pull, by a solver."""
    return IMAML(
        steps, like.inner_optimizer, like.batch, proximal_strength=proximal_strength, solver=solver
    )
