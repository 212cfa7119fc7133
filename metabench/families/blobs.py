r"""Gaussian classes: classification with a known Bayes classifier.

A class is N(mean, noise^2 I) with its mean from N(0, spread^2 I), so that given the means the
posterior of N equally likely classes is the softmax of :math:`-|x - m_c|^2 / 2\sigma^2`, and two
classes are separated with error :math:`\Phi(-|m_1 - m_2| / 2\sigma)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from metabench.families.base import Family, at_least
from metabench.problems import architectures, random_numbers
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Blobs(Family):
    """Classify points of Gaussian classes; the Bayes classifier is known in closed form.

    The network is linear unless `hidden` has layers; the loss is the cross-entropy. Labels are
    assigned to the classes of a task at random.
    (Fisher, 1936, https://doi.org/10.1111/j.1469-1809.1936.tb02137.x): equal covariances.

    >>> import metabench as mb
    >>> family = mb.Blobs(ways=2, shots=3)
    >>> round(family.bayes_error, 3)
    0.092
    >>> x, y = family.sample(mb.Address.fresh(start=0, count=4), seed=0).support
    >>> x.shape, y[0]  # four tasks of 2 x 3 points
    (torch.Size([4, 6, 2]), tensor([0, 0, 0, 1, 1, 1]))
    """

    ways: int = 5  # N, classes of a task [classes]
    shots: int = 5  # support points of each class [examples]
    queries: int = 10  # query points of each class [examples]
    dim: int = 2  # coordinates of a point [coordinates]
    spread: float = 2.0  # standard deviation of a class's mean [coordinate]
    noise: float = 1.0  # standard deviation of a point around it [coordinate]
    hidden: tuple[int, ...] = ()  # widths of hidden layers; none: linear [units]

    tasks: ClassVar[int] = 1024

    def __post_init__(self) -> None:
        """Validate sizes and standard deviations."""
        at_least(1, shots=self.shots, queries=self.queries, dim=self.dim)
        at_least(2, ways=self.ways)
        at_least(1, hidden=min(self.hidden, default=1))
        for name, least in (("spread", 0), ("noise", 0)):
            if not least < getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"{name} is {getattr(self, name)}; it must be finite and positive."
                )

    def problem(self) -> Problem:
        """Return the problem of minimizing the network's cross-entropy."""
        return Problem.from_module(self._net(), functional.cross_entropy)

    def theta(self, seed: int) -> Tensor:
        """Draw the network's initial parameters, `(Q,)`."""
        return architectures.initial_parameters(self._net(), seed)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks: points `(T, ways * n, dim)` and labels `(T, ways * n)`."""
        means = self.means(address, seed)

        def points(axis: str, each: int) -> tuple[Tensor, Tensor]:
            drawn = random_numbers.normal(
                random_numbers.uniform(seed, axis, address, self.ways * each * self.dim)
            )
            x = means[:, :, None, :] + self.noise * drawn.reshape(-1, self.ways, each, self.dim)
            y = np.repeat(np.arange(self.ways)[None, :], each, axis=1).repeat(len(x), axis=0)
            return torch.from_numpy(x.reshape(len(x), -1, self.dim)), torch.from_numpy(y)

        return Task(points("support", self.shots), points("query", self.queries))

    def means(self, address: Address, seed: int) -> NDArray[np.float64]:
        """Draw the class means of each task, ordered by label, `(T, ways, dim)`."""
        numbers = random_numbers.uniform(seed, "task", address, self.ways * self.dim)
        drawn = self.spread * random_numbers.normal(numbers).reshape(-1, self.ways, self.dim)
        dealt = random_numbers.order(random_numbers.uniform(seed, "label", address, self.ways))
        return np.take_along_axis(drawn, dealt[:, :, None], axis=1)

    def posterior(self, x: Tensor, means: Tensor) -> Tensor:
        """Compute the Bayes classifier's log probabilities `(T, n, ways)`, given the means."""
        square = ((x[:, :, None, :] - means[:, None, :, :]) ** 2).sum(-1)
        return torch.log_softmax(-square / (2 * self.noise**2), dim=-1)

    @property
    def bayes_error(self) -> float:
        r"""Error of the Bayes classifier over all tasks, for two classes.

        With :math:`|m_1 - m_2| = \sqrt2\,` spread :math:`\chi_d` the mean of
        :math:`\Phi(-|m_1 - m_2| / 2\sigma)` is Student's t distribution function with d degrees of
        freedom at :math:`-\sqrt{d/2}` spread / noise.

        Raises:
            InvalidInput: for more than two classes, whose error has no closed form.
        """
        from scipy.special import stdtr

        if self.ways != 2:
            raise InvalidInput(
                f"ways is {self.ways}; the Bayes error has a closed form only for 2 classes."
            )
        return float(stdtr(self.dim, -math.sqrt(self.dim / 2) * self.spread / self.noise))

    def _net(self) -> torch.nn.Module:
        return architectures.mlp((self.dim, *self.hidden, self.ways))
