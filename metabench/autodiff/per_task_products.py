"""Products with the second derivatives of many tasks, each from one graph.

Inside vmap where that runs, one task after another where it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.func import vmap

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import tree_leaves, tree_map

from metabench.autodiff import derivatives
from metabench.autodiff.vmap_trial import falling_back, vmap_failure
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.tasks import Loss

T = TypeVar("T")


def vectorize(product: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the function for m vectors with a leading axis m, all from the same graph.

    By vmap, or one after another where the first call of that fails.
    """

    def one_by_one(vectors: Any) -> Any:
        count = len(tree_leaves(vectors)[0])
        each = [product(tree_map(lambda leaf, i=i: leaf[i], vectors)) for i in range(count)]
        return tree_map(lambda *leaves: torch.stack(leaves), *each)

    return falling_back(vmap(product), one_by_one)


def per_task_hvp(
    loss: Loss, phis: Tensor, theta: Tensor, data: Any, how: str = "auto"
) -> Callable[[Tensor], Tensor]:
    """Return the function from `(T, P)`, a vector per task, to each task's Hessian product.

    It keeps one graph of the sum of all tasks' losses, so a product costs one backward pass. All
    derivatives are taken outside vmap, which is correct for fused norms, too.

    Args:
        loss: `(phi, theta, data) -> ()`.
        phis: parameters of each task, `(T, P)`.
        theta: meta-parameters, `(Q,)`.
        data: support or query sets of the tasks, with a leading T.
        how: "vmap", "loop", or "auto": a loop for a loss that doesn't run under vmap.
    """
    return per_task_hvp_of(lambda phi, part: loss(phi, theta, part), phis, data, how)


@plain_attention()
def per_task_hvp_of(
    value: Callable[[Tensor, Any], Tensor], points: Tensor, tasks: Any, how: str = "auto"
) -> Callable[[Tensor], Tensor]:
    """Return the function from `(T, P)`, a vector per task, to products with Hessians of `value`.

    If `value` takes derivatives itself, as a loss after adaptation does, this is a third derivative
    of the loss. torch computes it wrongly for fused norms
    (https://github.com/pytorch/pytorch/issues/196699): use a problem without them.

    Args:
        value: `(point, task) -> ()`.
        points: where each task's Hessian is taken, `(T, P)`.
        tasks: with a leading T.
        how: "vmap", "loop", or "auto": a loop for a function that doesn't run under vmap.
    """
    points = points.detach().clone().requires_grad_()

    def products(how: str) -> Callable[[Tensor], Tensor]:
        return _hessian_products(_per_task(value, points, tasks, how).sum(), points)

    return _first_that_runs(products, how)


@plain_attention()
def per_task_jacobian_products(
    function: Callable[[Tensor, Any], Tensor], points: Tensor, tasks: Any, how: str = "auto"
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    r"""Return the functions u -> J u and w -> J^T w, J the Jacobian of each task's function.

    From `(T, Q)` to `(T, P)` and back. :math:`J^\top w` is linear in w, so its VJP is :math:`J u`.
    For a function that takes derivatives, use a problem without fused norms (see
    `per_task_hvp_of`).

    Args:
        function: `(point, task) -> (P,)`.
        points: where each task's Jacobian is taken, `(T, Q)`.
        tasks: with a leading T.
        how: "vmap", "loop", or "auto": a loop for a function that doesn't run under vmap.
    """
    points = points.detach().clone().requires_grad_()

    def transposed_of(how: str) -> tuple[Tensor, Tensor, Tensor | None]:
        found = _per_task(function, points, tasks, how)
        zero = torch.zeros_like(found).requires_grad_()
        tracked = found.requires_grad
        return found, zero, derivatives.backward(found, points, zero) if tracked else None

    found, zero, transposed = _first_that_runs(transposed_of, how)
    if transposed is None or not transposed.requires_grad:  # it doesn't depend on the points
        return (lambda u: torch.zeros_like(found)), (lambda w: torch.zeros_like(points))
    return (
        lambda u: derivatives.backward(transposed, zero, u, create_graph=False),
        lambda w: derivatives.backward(found, points, w, create_graph=False),
    )


def _first_that_runs(make: Callable[[str], T], how: str) -> T:
    """Return what is made by vmap, or by a loop where vmap fails and was not asked for."""
    made: list[T] = []
    if how == "auto" and vmap_failure(lambda: made.append(make("vmap"))) is None:
        return made[0]
    return make("loop" if how == "auto" else how)


def _per_task(function: Callable[..., Tensor], points: Tensor, tasks: Any, how: str) -> Tensor:
    """Apply a function to each task's point, by vmap or a loop."""
    if how != "loop":
        return vmap(function)(points, tasks)
    every = range(len(points))
    parts = [tree_map(lambda leaf, i=i: leaf[i], tasks) for i in every]
    return torch.stack([function(points[i], parts[i]) for i in every])


def _hessian_products(total: Tensor, at: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the function for products with the Hessian of a number, keeping its graph."""
    if not total.requires_grad:  # a loss that doesn't depend on phi
        return torch.zeros_like
    gradient = derivatives.backward(total, at)
    if not gradient.requires_grad:  # a loss that is linear in phi
        return torch.zeros_like
    return lambda vectors: derivatives.backward(gradient, at, vectors, create_graph=False)
