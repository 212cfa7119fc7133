r"""Log-cosh losses: convex, with varying curvature and known Lipschitz constants.

The loss of an example z is :math:`\sum_d h_d s^2 \log\cosh((\phi_d - z_d)/s)`. Its gradient
:math:`h_d s \tanh` has the Lipschitz constant :math:`L = \max h = 1`, its Hessian
:math:`h_d\,\mathrm{sech}^2` the constant :math:`\rho = 4 L / (3\sqrt3\, s)`, the largest value of
:math:`|2\,\mathrm{sech}^2 \tanh| / s`; both are attained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import random_numbers
from metabench.problems.initial_phi import identity
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Data, Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class LogCosh(Family):
    """Convex log-cosh losses, whose Hessian has a known Lipschitz constant rho > 0.

    A task's center is N(0, spread^2), an example its center plus N(0, noise^2); curvatures h run
    from 1 down to 1 / condition. Quadratics have rho = 0, so that finite-difference
    Hessian-vector products (HF-MAML) are exact on them; here their error is bounded by rho.
    (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400), assumption 4.

    >>> import metabench as mb
    >>> family = mb.LogCosh(scale=0.5)
    >>> family.gradient_lipschitz, round(family.hessian_lipschitz, 3)
    (1.0, 1.54)
    """

    dim: int = 10  # P, parameters [parameters]
    condition: float = 10.0  # largest over smallest curvature at the bottom [1]
    scale: float = 1.0  # s, distance from the minimum at which curvature falls [parameter]
    spread: float = 1.0  # standard deviation of a task's center [parameter]
    noise: float = 0.5  # standard deviation of an example around it [parameter]
    shots: int = 10  # support examples of a task [examples]
    queries: int = 10  # query examples of a task [examples]

    def __post_init__(self) -> None:
        """Validate sizes, curvatures and scales."""
        at_least(1, dim=self.dim, shots=self.shots, queries=self.queries)
        if not 1 <= self.condition < math.inf:
            raise InvalidInput(f"condition is {self.condition}; it must be finite and at least 1.")
        if not 0 < self.scale < math.inf:
            raise InvalidInput(f"scale is {self.scale}; it must be finite and positive.")
        for name in ("spread", "noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite and at least 0."
                )

    @property
    def gradient_lipschitz(self) -> float:
        """L, the Lipschitz constant of every task's gradient."""
        return 1.0

    @property
    def hessian_lipschitz(self) -> float:
        """Rho, the Lipschitz constant of an example's Hessian."""
        return 4 / (3 * math.sqrt(3) * self.scale)

    def problem(self) -> Problem:
        """Return the problem of minimizing the mean log-cosh distance from theta."""
        layout = Layout(("phi",), ((self.dim,),))
        h = torch.logspace(0, -math.log10(self.condition), self.dim, dtype=torch.float64)
        s = self.scale

        def loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            (z,) = data
            u = (phi - z) / s
            # logaddexp: smooth at any distance, where softplus turns linear
            each = torch.logaddexp(u, -u) - math.log(2)
            value: Tensor = s**2 * (each @ h.to(phi)).mean()
            return value

        return Problem(identity, loss, loss, Layouts(layout, layout))

    def theta(self, seed: int) -> Tensor:
        """Draw an initialization from the distribution of centers, `(dim,)`."""
        numbers = random_numbers.uniform(seed, "theta", Address.fresh(0, 1), self.dim)[0]
        return torch.from_numpy(self.spread * random_numbers.normal(numbers))

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks whose examples z are `(T, n, dim)`."""
        center = self.spread * random_numbers.normal(
            random_numbers.uniform(seed, "task", address, self.dim)
        )

        def examples(axis: str, count: int) -> tuple[Tensor]:
            drawn = random_numbers.normal(
                random_numbers.uniform(seed, axis, address, count * self.dim)
            )
            z = center[:, None, :] + self.noise * drawn.reshape(-1, count, self.dim)
            return (torch.from_numpy(np.ascontiguousarray(z)),)

        return Task(examples("support", self.shots), examples("query", self.queries))
