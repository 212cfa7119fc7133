"""First and second derivatives of losses, for one task and for many.

Always reverse over reverse mode: forward over reverse fails for some of torch's fused losses
(`F.mse_loss`: https://github.com/pytorch/pytorch/issues/123996).

Inside vmap or another transform, derivatives are taken by torch.func; outside (tasks one after
another) by autograd, with the same kernels and without the transforms' cost per operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, vjp

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from metabench.problems.networks.func_transforms import inside_func_transform
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.tasks import Loss

T = TypeVar("T")


@plain_attention()
def gradient(loss: Loss, phi: Tensor, theta: Tensor, data: Any) -> Tensor:
    """Compute the gradient of the loss in phi, `(P,)`.

    Args:
        loss: `(phi, theta, data) -> ()`.
        phi: parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        data: support or query set of one task.
    """
    if inside_func_transform():
        result: Tensor = grad(lambda p: loss(p, theta, data))(phi)
        return result
    return _value_and_gradients(lambda p: loss(p, theta, data), [phi], theta, data)[1][0]


@plain_attention()
def value_and_gradients(
    loss: Loss, phi: Tensor, theta: Tensor, data: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the loss `()` and its partial gradients in phi `(P,)` and theta `(Q,)`.

    Args:
        loss: `(phi, theta, data) -> ()`.
        phi: parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        data: support or query set of one task.
    """
    if inside_func_transform():
        gradients = grad_and_value(lambda p, t: loss(p, t, data), argnums=(0, 1))
        result: Any = gradients(phi, theta)
        (in_phi, in_theta), value = result
    else:
        value, (in_phi, in_theta) = _value_and_gradients(
            lambda p, t: loss(p, t, data), [phi, theta], data
        )
    return value, in_phi, in_theta


def gradients_of(
    value: Tensor, leaves: list[Tensor], create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Compute the gradients of a number in tensors of its graph, 0 where it doesn't depend on one.

    Args:
        value: a scalar with a graph.
        leaves: tensors in this graph.
        create_graph: whether the gradients get a graph.
    """
    return torch.autograd.grad(value, leaves, create_graph=create_graph, materialize_grads=True)


def gradient_with_products(
    loss: Loss, phi: Tensor, theta: Tensor, data: Any
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    r"""Compute the gradient in phi, and return a function for second-derivative products.

    The function maps v `(P,)` to :math:`H v` with :math:`H = \nabla^2_{\phi\phi} f`, `(P,)`, and
    :math:`C^\top v` with :math:`C = \nabla^2_{\phi\theta} f`, `(Q,)`. It keeps the graph of the
    gradient, so each product costs about one backward pass.

    Args:
        loss: `(phi, theta, data) -> ()`.
        phi: parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        data: support or query set of one task.

    Returns:
        The gradient `(P,)` and the function.
    """
    return vjp_of(lambda p, t: gradient(loss, p, t, data), phi, theta)


@plain_attention()
def vjp_of(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """Compute a function's value and return its vector-Jacobian product, as torch.func.vjp.

    The value and the cotangents have no autograd graph unless the arguments have one.
    """
    if inside_func_transform() or _tracked(primals):
        result: Any = vjp(function, *primals)
        value, vjp_function = result
        return value, vjp_function
    leaves, spec = tree_flatten(primals)
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    with torch.enable_grad():
        value = function(*tree_unflatten(leaves, spec))

    def pull_back(cotangent: Any) -> Any:
        pairs = zip(tree_leaves(value), tree_leaves(cotangent), strict=True)
        outputs = [(output, bar) for output, bar in pairs if output.requires_grad]
        if not outputs:
            return tree_unflatten([torch.zeros_like(leaf) for leaf in leaves], spec)
        found = torch.autograd.grad(
            [output for output, _ in outputs],
            leaves,
            [bar for _, bar in outputs],
            retain_graph=True,
            create_graph=_tracked(cotangent),
            materialize_grads=True,
        )
        return tree_unflatten(found, spec)

    return tree_map(torch.Tensor.detach, value), pull_back


def jvp_of(function: Callable[..., Any], primals: Any, tangents: Any) -> Any:
    """Compute the Jacobian-vector product of a function.

    It is the VJP of the VJP, which is linear in its cotangent. Forward mode warns and fails for
    some of torch's operations.

    Args:
        function: of tensors or pytrees.
        primals: its arguments.
        tangents: one for each argument.
    """
    value, pull_back = vjp_of(function, *primals)
    zero = tree_map(torch.zeros_like, value)
    _, push_forward = vjp_of(pull_back, zero)
    return push_forward(tangents)[0]


def backward(
    value: Tensor, at: Tensor, cotangent: Tensor | None = None, create_graph: bool = True
) -> Tensor:
    """Backpropagate a cotangent of `value` to `at`, keeping the graph.

    Args:
        value: a tensor with a graph.
        at: what it is differentiated in.
        cotangent: of `value`; None: 1, for a scalar.
        create_graph: whether the result can be differentiated.
    """
    (result,) = torch.autograd.grad(
        value, at, cotangent, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return result


def _tracked(*given: Any) -> bool:
    """Whether any of the given tensors requires a gradient."""
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in tree_leaves(given))


def _value_and_gradients(
    function: Callable[..., Tensor], at: list[Tensor], *others: Any
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute a scalar function's value and gradients, with a graph if any argument has one."""
    tracked = _tracked(at, others)
    # views, so that autograd distinguishes phi_0 from theta where they are the same tensor
    at = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in at]
    with torch.enable_grad():
        value = function(*at)
        if not value.requires_grad:
            return value, tuple(torch.zeros_like(x) for x in at)
        found = torch.autograd.grad(value, at, create_graph=tracked, materialize_grads=True)
    return value if tracked else value.detach(), found
