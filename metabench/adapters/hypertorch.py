"""Meta-gradients by hypertorch's fixed-point iteration, written anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from metabench.adapters.modules import flat_loss
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff import derivatives
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Task

Named = dict[str, Tensor]


def from_hypertorch(
    step: Callable[[Named, Named, Any], Named],
    outer_loss: Callable[[Named, Named, Any], Tensor],
    steps: int,
    iterations: int,
) -> BlackBox:
    r"""Return the hypergradient by fixed-point iteration, as `hypergrad.fixed_point` computes it.

    At phi_T after T steps of the map :math:`\Phi` from theta, :math:`v \leftarrow \Phi_\phi^\top v
    + F_\phi` is iterated n times from 0; the hypergradient is :math:`F_\theta + \Phi_\theta^\top
    v`. It converges where :math:`\Phi` contracts.
    (Grazzi, Franceschi, Pontil & Salzo, 2020, https://arxiv.org/abs/2006.16218).

    Args:
        step: the map, `(phi, theta, support) -> phi`, with dictionaries by name; for a gradient
            step use `torch.autograd.grad(..., create_graph=True)` inside.
        outer_loss: F, `(phi, theta, query) -> ()`.
        steps: T, of the map.
        iterations: n, of the hypergradient (K there).

    >>> import metabench as mb
    >>> def step(phi, theta, support):
    ...     x, y = support
    ...     slope = (2 * (phi["a"] * x - y) * x).mean() + 2 * (phi["a"] - theta["a"])
    ...     return {"a": phi["a"] - 0.1 * slope}
    >>> def outer(phi, theta, query):
    ...     return ((phi["a"] * query[0] - query[1]) ** 2).mean()
    >>> mb.adapters.from_hypertorch(step, outer, steps=20, iterations=20).name
    'hypertorch'
    """

    def estimate(theta: Named, task: Task) -> tuple[Tensor, Tensor]:
        layout = Layout.from_tensors(theta)
        start = phi = layout.flatten(theta)

        def mapped(phi: Tensor, theta: Tensor) -> Tensor:
            return layout.flatten(
                step(layout.unflatten(phi), layout.unflatten(theta), task.support)
            )

        for _ in range(steps):
            phi, _ = derivatives.vjp_of(mapped, phi, start)
        loss, in_phi, direct = derivatives.value_and_gradients(
            flat_loss(outer_loss, layout), phi, start, task.query
        )
        _, vjp = derivatives.vjp_of(mapped, phi, start)
        v = in_phi * 0
        for _ in range(iterations):
            v = vjp(v)[0] + in_phi
        return loss, direct + vjp(v)[1]

    return BlackBox(estimate, name="hypertorch")
