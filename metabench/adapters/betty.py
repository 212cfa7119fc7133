"""Meta-gradients by betty's Neumann series of the implicit gradient, written anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from metabench.adapters.modules import flat_loss
from metabench.algorithms.black_box import BlackBox
from metabench.autodiff import derivatives
from metabench.problems.parameter_layout import Layout
from metabench.problems.tasks import Task

Losses = Callable[[dict[str, Tensor], dict[str, Tensor], Any], Tensor]


def from_betty(
    inner_loss: Losses,
    outer_loss: Losses,
    steps: int,
    rate: float,
    iterations: int = 1,
    alpha: float = 1.0,
) -> BlackBox:
    r"""Return the implicit gradient by a Neumann series, as betty's type "neumann" computes it.

    At phi_K after K inner steps from theta it is :math:`F_\theta - G_{\theta\phi}\, \alpha
    \sum_{j=0}^{n} (I - \alpha G_{\phi\phi})^j F_\phi`; the series needs :math:`\alpha` below 2 over
    the largest eigenvalue.
    (Choe, Neiswanger, Xie & Xing, 2023, https://arxiv.org/abs/2207.02849).

    Args:
        inner_loss: G, `(phi, theta, support) -> ()`, with phi and theta dictionaries by name; theta
            enters it, for example by a proximal term.
        outer_loss: F, `(phi, theta, query) -> ()`.
        steps: K, inner steps.
        rate: of the inner steps.
        iterations: n, terms after the first (neumann_iterations).
        alpha: of the series (neumann_alpha).

    >>> import metabench as mb
    >>> def inner(phi, theta, support):
    ...     x, y = support
    ...     return ((phi["a"] * x - y) ** 2).mean() + ((phi["a"] - theta["a"]) ** 2).sum()
    >>> def outer(phi, theta, query):
    ...     return ((phi["a"] * query[0] - query[1]) ** 2).mean()
    >>> mb.adapters.from_betty(inner, outer, steps=5, rate=0.1, iterations=10, alpha=0.1).name
    'betty'
    """

    def estimate(theta: dict[str, Tensor], task: Task) -> tuple[Tensor, Tensor]:
        layout = Layout.from_tensors(theta)
        inner, outer = flat_loss(inner_loss, layout), flat_loss(outer_loss, layout)
        start = phi = layout.flatten(theta)
        for _ in range(steps):
            phi = phi - rate * derivatives.gradient(inner, phi, start, task.support)
        loss, v, direct = derivatives.value_and_gradients(outer, phi, start, task.query)
        _, products = derivatives.gradient_with_products(inner, phi, start, task.support)
        series = v
        for _ in range(iterations):
            v = v - alpha * products(v)[0]
            series = series + v
        return loss, direct - products(alpha * series)[1]

    return BlackBox(estimate, name="betty")
