"""Meta-gradient estimators compared on the inner loop of a given algorithm.

Each has that algorithm's inner optimizer and mini-batches, and the given number of inner steps.
"""

from __future__ import annotations

from metabench.algorithms.base import Algorithm, Loop
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.hf_maml import HFMAML
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.maml import MAML
from metabench.linalg.solvers.solver import Solver


def exact(like: Algorithm, steps: int) -> Algorithm:
    """Return MAML: the exact gradient of the query loss after adaptation."""
    return MAML(steps, like.inner_optimizer, like.batch)


def exact_of(loop: Loop, steps: int) -> Algorithm:
    """Return MAML with the inner optimizer of a loop and K = `steps`."""
    return MAML(steps, loop.inner_optimizer)


def is_exact(algorithm: Algorithm) -> bool:
    """Whether an algorithm is MAML without truncation; a subclass may compute something else."""
    return type(algorithm) is MAML and algorithm.exact


def truncated(like: Algorithm, steps: int, truncate: int) -> Algorithm:
    """Return MAML truncated to the last inner steps.

    Args:
        like: algorithm whose inner optimizer and mini-batches are used.
        steps: K, inner steps.
        truncate: inner steps to backpropagate through, counted from the last.
    """
    return MAML(steps, like.inner_optimizer, like.batch, truncate=truncate)


def first_order(like: Algorithm, steps: int) -> Algorithm:
    """Return FOMAML: no second derivatives."""
    return FOMAML(steps, like.inner_optimizer, like.batch)


def hessian_free(like: Algorithm, steps: int) -> Algorithm:
    """Return HF-MAML: Hessian-vector products by differences of inner gradients."""
    return HFMAML(steps, like.inner_optimizer, like.batch)


def implicit(like: Algorithm, steps: int) -> Algorithm:
    """Return iMAML with its default proximal strength and solver."""
    return IMAML(steps, like.inner_optimizer, like.batch)


def implicit_with(
    like: Algorithm, steps: int, proximal_strength: float, solver: Solver
) -> Algorithm:
    """Return iMAML with a proximal strength and a solver.

    Args:
        like: algorithm whose inner optimizer and mini-batches are used.
        steps: K, inner steps.
        proximal_strength: lambda of lambda/2 |phi - init(theta)|^2.
        solver: of the linear system with the inner Hessian.
    """
    return IMAML(
        steps, like.inner_optimizer, like.batch, proximal_strength=proximal_strength, solver=solver
    )
