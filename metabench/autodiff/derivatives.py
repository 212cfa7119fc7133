"""The one door to derivatives of a loss, first and second.

Reverse over reverse throughout: it worked for every loss tried, while forward over reverse fails
for some of torch's fused losses (`F.mse_loss`: https://github.com/pytorch/pytorch/issues/123996).

Inside a vmap or any other transform derivatives are torch.func's. Where there is none (tasks one
after another) they are autograd's own, the same kernels without the transforms' cost per operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vjp, vmap

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from metabench.problems.networks.func_transforms import inside_func_transform
from metabench.problems.tasks import Loss


def gradient(loss: Loss, phi: Tensor, theta: Tensor, data: Any) -> Tensor:
    """Give the gradient of the loss in phi, `(P,)`."""
    if inside_func_transform():
        result: Tensor = grad(lambda p: loss(p, theta, data))(phi)
        return result
    return _value_and_gradients(lambda p: loss(p, theta, data), [phi], theta, data)[1][0]


def value_and_gradients(
    loss: Loss, phi: Tensor, theta: Tensor, data: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the loss `()` with its gradients in phi `(P,)` and directly in theta `(Q,)`."""
    if inside_func_transform():
        slopes = grad_and_value(lambda p, t: loss(p, t, data), argnums=(0, 1))
        result: Any = slopes(phi, theta)
        (in_phi, in_theta), value = result
    else:
        value, (in_phi, in_theta) = _value_and_gradients(
            lambda p, t: loss(p, t, data), [phi, theta], data
        )
    return value, in_phi, in_theta


def gradient_with_products(
    loss: Loss, phi: Tensor, theta: Tensor, data: Any
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    r"""Give the gradient in phi, and the map of v `(P,)` to second-derivative products.

    The map returns :math:`H v` with :math:`H = \nabla^2_{\phi\phi} f`, `(P,)`, and
    :math:`C^\top v` with :math:`C = \nabla^2_{\phi\theta} f`, `(Q,)`. The gradient's graph is
    kept, so each further product costs about one reverse sweep over it.
    """
    return vjp_of(lambda p, t: gradient(loss, p, t, data), phi, theta)


def vjp_of(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Give a function's value, and the map of its cotangent to those of its arguments.

    The value and the cotangents that come back carry no graph of their own, unless the arguments
    did.
    """
    if inside_func_transform() or _tracked(primals):
        result: Any = vjp(function, *primals)
        value, pull = result
        return value, pull
    leaves, spec = tree_flatten(primals)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    with torch.enable_grad():
        value = function(*tree_unflatten(leaves, spec))

    def pull_back(cotangent: Any) -> Any:
        pairs = zip(tree_leaves(value), tree_leaves(cotangent), strict=True)
        ends = [(end, bar) for end, bar in pairs if end.requires_grad]
        if not ends:
            return tree_unflatten([torch.zeros_like(leaf) for leaf in leaves], spec)
        found = torch.autograd.grad(
            [end for end, _ in ends],
            leaves,
            [bar for _, bar in ends],
            retain_graph=True,
            create_graph=_tracked(cotangent),
            materialize_grads=True,
        )
        return tree_unflatten(found, spec)

    return tree_map(torch.Tensor.detach, value), pull_back


def jvp_of(function: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """Give the change of a function's value along `tangents`, one for each of its arguments.

    The transposed map is linear in its cotangent, so that its own transpose is wanted: no forward
    mode, which warns and fails for some of torch's operations.
    """
    value, pull = vjp_of(function, *primals)
    blank = tree_map(torch.zeros_like, value)
    _, push = vjp_of(pull, blank)
    return push(tangents)[0]


def vectorize(product: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Turn a map of one vector into one of m vectors with a leading axis m, from the same graph."""
    many: Callable[[Any], Any] = vmap(product)
    return many


def per_task_hvp(
    loss: Loss, phis: Tensor, theta: Tensor, data: Any, how: str = "vmap"
) -> Callable[[Tensor], Tensor]:
    """Give the map of one vector a task `(T, P)` to the products with each task's Hessian.

    One graph of the sum of all tasks' losses, kept: a product costs one reverse sweep over it.
    Every derivative is taken outside the vmap, which is right through fused norms as well. `how`
    is "loop" for a loss that can't be vmapped.
    """
    return per_task_hvp_of(lambda phi, part: loss(phi, theta, part), phis, data, how)


def per_task_hvp_of(
    value: Callable[[Tensor, Any], Tensor], points: Tensor, tasks: Any, how: str = "vmap"
) -> Callable[[Tensor], Tensor]:
    """Give the map of one vector a task `(T, P)` to its product with the Hessian of its value.

    For a `value` that takes derivatives itself, such as a loss after adaptation, this is a third
    derivative of the loss, which torch's fused norms have wrong by every route
    (https://github.com/pytorch/pytorch/issues/196699): give it a problem without them.
    """
    points = points.detach().clone().requires_grad_()
    total = _each(value, points, tasks, how).sum()
    return _second(total, points)


def per_task_jacobian_products(
    function: Callable[[Tensor, Any], Tensor], points: Tensor, tasks: Any, how: str = "vmap"
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    r"""Give the maps u -> J u and w -> J^T w, J the Jacobian of each task's function.

    From `(T, Q)` to `(T, P)` and back. :math:`J^\top w` is linear in w, so that a sweep over its
    own graph gives :math:`J u`, in reverse mode as well. What holds of fused norms in
    `fleet_of_hessians` holds here, for a function that takes derivatives.
    """
    points = points.detach().clone().requires_grad_()
    found = _each(function, points, tasks, how)
    blank = torch.zeros_like(found).requires_grad_()
    back = _backward(found, points, blank) if found.requires_grad else None
    if back is None or not back.requires_grad:  # it doesn't depend on theta
        return (lambda u: torch.zeros_like(found)), (lambda w: torch.zeros_like(points))
    return (
        lambda u: _backward(back, blank, u, create_graph=False),
        lambda w: _backward(found, points, w, create_graph=False),
    )


def _each(function: Callable[..., Tensor], points: Tensor, tasks: Any, how: str) -> Tensor:
    """Apply a function to each task's point, at once or one after another."""
    if how != "loop":
        return vmap(function)(points, tasks)
    every = range(len(points))
    parts = [tree_map(lambda leaf, i=i: leaf[i], tasks) for i in every]
    return torch.stack([function(points[i], parts[i]) for i in every])


def _second(total: Tensor, at: Tensor) -> Callable[[Tensor], Tensor]:
    """Give the products with the Hessian of a number, whose graph is kept."""
    if not total.requires_grad:  # a loss that doesn't depend on phi
        return torch.zeros_like
    slope = _backward(total, at)
    if not slope.requires_grad:  # a loss that is linear in phi
        return torch.zeros_like
    return lambda vectors: _backward(slope, at, vectors, create_graph=False)


def _backward(
    value: Tensor, at: Tensor, cotangent: Tensor | None = None, create_graph: bool = True
) -> Tensor:
    (result,) = torch.autograd.grad(
        value, at, cotangent, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return result


def _tracked(*given: Any) -> bool:
    """Say whether autograd keeps a graph of any of these."""
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(given))


def _value_and_gradients(
    function: Callable[..., Tensor], at: list[Tensor], *others: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Give a scalar function's value and gradients, with a graph if an argument or other has."""
    tracked = _tracked(at, others)
    # views, so that phi_0 isn't theta to autograd even where it is the same tensor
    at = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in at]
    with torch.enable_grad():
        value = function(*at)
        if not value.requires_grad:
            return value, tuple(torch.zeros_like(x) for x in at)
        slopes = torch.autograd.grad(value, at, create_graph=tracked, materialize_grads=True)
    return value if tracked else value.detach(), slopes
