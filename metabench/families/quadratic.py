r"""Noisy quadratics with closed-form moments of the meta-gradient.

An example is a curvature a and a target z, both `(dim,)`, with loss
:math:`\tfrac12 \sum_d a_d (\phi_d - z_d)^2`. Around the task's center c its gradient is
:math:`a (\phi - c) - e`, so support sets are noisy in gradient *and* curvature, which makes
few-shot adaptation biased, as it is on real problems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import random_numbers
from metabench.problems.initial_phi import identity
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.quadratic_moments import Bowl, Truth
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Data, Task
from metabench.settings.errors import InvalidInput

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Quadratic(Family):
    """Quadratics with random centers; moments of MAML and FOMAML in closed form.

    Task: c ~ N(0, spread^2), times a Pareto number of index `tail` if that is finite.
    Example: a = h (1 +- jitter) with a fair sign in each coordinate,
    e ~ N(0, noise^2), z = c + e / a, where h runs from 1 down to 1 / condition.
    The setting is that of (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400),
    with Lipschitz constants 1 + jitter (gradient) and 0 (Hessian).

    >>> import metabench as mb
    >>> family = mb.Quadratic(dim=2)
    >>> exact = family.truth(family.theta(seed=0), steps=1, rate=0.1)
    >>> round(exact.noise_scale, 1)  # tr Cov(g) / |E g|^2, in tasks
    73.9
    """

    dim: int = 20  # P, parameters [parameters]
    condition: float = 10.0  # largest over smallest mean curvature [1]
    spread: float = 1.0  # standard deviation of a task's center [parameter]
    noise: float = 1.0  # standard deviation of an example's gradient [gradient entry]
    jitter: float = 0.5  # relative spread of an example's curvature [1]
    offset: float = 0.5  # standard deviation of theta around the mean center [parameter]
    shots: int = 10  # support examples of a task [examples]
    queries: int = 10  # query examples of a task [examples]
    tail: float = np.inf  # tail index of a center's distance; inf: Gaussian [1]

    def __post_init__(self) -> None:
        """Validate sizes, curvatures and standard deviations."""
        at_least(1, dim=self.dim, shots=self.shots, queries=self.queries)
        if not self.condition >= 1:
            raise InvalidInput(f"condition is {self.condition}; it must be at least 1.")
        if not 0 <= self.jitter < 1:
            raise InvalidInput(
                f"jitter is {self.jitter}; it must lie in [0, 1): from 1 on, curvature can vanish."
            )
        if not self.tail > 0:
            raise InvalidInput(f"tail is {self.tail}; it must be positive (inf: Gaussian centers).")
        for name in ("spread", "noise", "offset"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite and at least 0."
                )

    @property
    def curvatures(self) -> Vector:
        """Mean curvature h of each coordinate, `(dim,)`: the Hessian's expected eigenvalues."""
        return np.geomspace(1.0, 1.0 / self.condition, self.dim)

    def problem(self) -> Problem:
        """Return the problem of adapting one vector `(dim,)` from theta."""
        layout = Layout(("phi",), ((self.dim,),))
        return Problem(identity, _loss, _loss, Layouts(layout, layout))

    def theta(self, seed: int) -> Tensor:
        """Draw theta around the mean center, `(dim,)`."""
        numbers = random_numbers.uniform(seed, "theta", Address.fresh(0, 1), self.dim)[0]
        return torch.from_numpy(self.offset * random_numbers.normal(numbers))

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks with curvatures and targets `(T, shots, dim)` and `(T, queries, dim)`."""
        numbers = random_numbers.uniform(seed, "task", address, self.dim + 1)
        center = self.spread * random_numbers.normal(numbers[:, :-1])
        center *= numbers[:, -1:] ** (-1 / self.tail)

        def examples(axis: str, count: int) -> tuple[Tensor, Tensor]:
            numbers = random_numbers.uniform(seed, axis, address, 2 * count * self.dim)
            numbers = numbers.reshape(len(center), 2, count, self.dim)
            sign = np.where(numbers[:, 0] < 0.5, -1.0, 1.0)
            curvature = self.curvatures * (1 + self.jitter * sign)
            error = self.noise * random_numbers.normal(numbers[:, 1])
            target = center[:, None] + error / curvature
            return torch.from_numpy(curvature), torch.from_numpy(target)

        return Task(examples("support", self.shots), examples("query", self.queries))

    @property
    def bowl(self) -> Bowl:
        """The settings that the exact moments depend on."""
        heavier = self.tail / (self.tail - 2) if 2 < self.tail < np.inf else 1.0
        spread = self.spread**2 * (np.inf if self.tail <= 2 else heavier)
        return Bowl(self.curvatures, self.jitter, self.noise, spread, self.shots, self.queries)

    def truth(
        self, theta: Tensor, steps: int, rate: float, first_order: bool = False, batch: int = 0
    ) -> Truth:
        r"""Compute the exact moments of the meta-gradient for `steps` gradient descent steps.

        Args:
            theta: at which the moments are taken, `(dim,)`.
            steps: K.
            rate: alpha.
            first_order: FOMAML's moments instead of MAML's.
            batch: examples in an inner mini-batch, 0 for all; for one step only.

        Returns:
            The moments over all sources, and the variance from each source.
        """
        return self.bowl.truth(theta.double().cpu().numpy(), steps, rate, first_order, batch)

    def many_shot(self, theta: Tensor, steps: int, rate: float) -> Vector:
        """Compute MAML's expected meta-gradient with infinite support sets, `(dim,)`.

        Args:
            theta: `(dim,)`.
            steps: K.
            rate: alpha.
        """
        return self.bowl.many_shot(theta.double().cpu().numpy(), steps, rate)


def _loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
    curvature, target = data
    loss: Tensor = (0.5 * curvature * (phi - target) ** 2).sum(-1).mean()
    return loss
