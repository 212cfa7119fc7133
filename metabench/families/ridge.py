r"""Ridge regression whose meta-parameters are the regularizer: a bilevel problem in closed form.

phi holds the weights and a bias, theta the logarithms of the weights' penalties. The two differ in
size, adaptation starts at zero for every theta, and theta affects the query loss only through the
adapted phi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import random_numbers
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Data, Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Ridge(Family):
    r"""Ridge regression whose theta is the penalty of each weight; optimum in closed form.

    Inner loss :math:`\tfrac12 \overline{(x^\top w + c - y)^2} + \tfrac12 \sum_d e^{\theta_d} w_d^2`
    with phi = (w, c), outer loss the query half mean squared error, phi_0 = 0. A task is a weight
    vector N(0, spread^2), of which every second entry is zero, and a bias; x is standard normal.
    (Pedregosa, 2016, https://arxiv.org/abs/1602.02355), section 5.

    >>> import metabench as mb
    >>> family = mb.Ridge(dim=3)
    >>> layouts = family.problem().layouts
    >>> layouts.phi.names, layouts.phi.size, layouts.theta.size
    (('weight', 'bias'), 4, 3)
    """

    dim: int = 6  # weights of a task, and entries of theta [parameters]
    spread: float = 1.0  # standard deviation of a task's nonzero weights [weight]
    noise: float = 0.5  # standard deviation of a target around its line [target]
    shots: int = 20  # support examples of a task [examples]
    queries: int = 20  # query examples of a task [examples]

    def __post_init__(self) -> None:
        """Validate sizes and standard deviations."""
        at_least(1, dim=self.dim, shots=self.shots, queries=self.queries)
        for name in ("spread", "noise"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite and at least 0."
                )

    def problem(self) -> Problem:
        """Return the problem: phi is weights and bias `(dim + 1,)`, theta penalties `(dim,)`."""
        phi = Layout(("weight", "bias"), ((self.dim,), (1,)))
        theta = Layout(("log_penalty",), ((self.dim,),))
        return Problem(_zeros, _inner_loss, _outer_loss, Layouts(phi, theta))

    def theta(self, seed: int) -> Tensor:
        """Draw logarithms of penalties around -1, `(dim,)`."""
        numbers = random_numbers.uniform(seed, "theta", Address.fresh(0, 1), self.dim)[0]
        return torch.from_numpy(0.5 * random_numbers.normal(numbers) - 1.0)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks with x `(T, n, dim)` and y `(T, n)`."""
        numbers = random_numbers.normal(random_numbers.uniform(seed, "task", address, self.dim + 1))
        weight, bias = self.spread * numbers[:, :-1], numbers[:, -1:]
        weight[:, 1::2] = 0.0

        def examples(axis: str, count: int) -> tuple[Tensor, Tensor]:
            drawn = random_numbers.normal(
                random_numbers.uniform(seed, axis, address, count * (self.dim + 1))
            )
            drawn = drawn.reshape(-1, count, self.dim + 1)
            x, error = drawn[..., :-1], self.noise * drawn[..., -1]
            y = (x @ weight[..., None])[..., 0] + bias + error
            return torch.from_numpy(x.copy()), torch.from_numpy(y)

        return Task(examples("support", self.shots), examples("query", self.queries))

    def truth(self, theta: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        r"""Compute one task's exact optimum phi `(dim + 1,)` and meta-gradient there `(dim,)`.

        With :math:`A = X^\top X / n + \mathrm{diag}(e^\theta, 0)`, X with a column of ones:
        :math:`\phi^* = A^{-1} X^\top y / n`, and entry d of the meta-gradient is
        :math:`-e^{\theta_d} w^*_d (A^{-1} F_\phi)_d`.
        """
        X, y = _with_ones(task.support[0]), task.support[1]
        penalty = theta.exp()
        A = X.T @ X / len(y) + torch.diag(torch.cat([penalty, penalty.new_zeros(1)]))
        phi = torch.linalg.solve(A, X.T @ y / len(y))
        Z, z = _with_ones(task.query[0]), task.query[1]
        query_gradient = Z.T @ (Z @ phi - z) / len(z)
        return phi, -penalty * phi[:-1] * torch.linalg.solve(A, query_gradient)[:-1]


def _zeros(theta: Tensor) -> Tensor:
    return theta.new_zeros(theta.shape[-1] + 1)


def _with_ones(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def _outer_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
    x, y = data
    loss: Tensor = 0.5 * ((x @ phi[:-1] + phi[-1] - y) ** 2).mean()
    return loss


def _inner_loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
    return _outer_loss(phi, theta, data) + 0.5 * (theta.exp() * phi[:-1] ** 2).sum()
