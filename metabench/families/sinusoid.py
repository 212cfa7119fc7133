"""Regression of sine waves of random amplitude and phase, as in the MAML paper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.families.base import Family, at_least
from metabench.problems import architectures, random_numbers
from metabench.problems.problem import Problem
from metabench.problems.samplers import independent_tasks
from metabench.problems.tasks import Address, Task

AMPLITUDES = 0.1, 5.0
PHASES = 0.0, math.pi
INPUTS = -5.0, 5.0


@dataclass(frozen=True)
class Sinusoid(Family):
    """Regress y = a sin(x - p) with a ReLU network, a in [0.1, 5], p in [0, pi], x in [-5, 5].

    The loss is the mean squared error.
    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), section 5.1.

    >>> import metabench as mb
    >>> family = mb.Sinusoid(shots=5)
    >>> x, y = family.sample(mb.Address.fresh(start=0, count=3), seed=0).support
    >>> x.shape, family.theta(seed=0).shape
    (torch.Size([3, 5, 1]), torch.Size([1761]))
    """

    shots: int = 10  # support points of a task [examples]
    queries: int = 10  # query points of a task [examples]
    hidden: tuple[int, ...] = (40, 40)  # widths of the hidden layers [units]

    def __post_init__(self) -> None:
        """Validate sizes."""
        at_least(1, shots=self.shots, queries=self.queries, hidden=min(self.hidden, default=1))

    def problem(self) -> Problem:
        """Return the problem of minimizing the network's mean squared error."""
        return Problem.from_module(self._net(), _mean_squared_error)

    def theta(self, seed: int) -> Tensor:
        """Draw the network's initial parameters, `(Q,)`."""
        return architectures.initial_parameters(self._net(), seed)

    @independent_tasks
    def sample(self, address: Address, seed: int) -> Task:
        """Draw tasks with x and y of shape `(T, shots, 1)` and `(T, queries, 1)`."""
        shape = random_numbers.uniform(seed, "task", address, 2)
        height = torch.from_numpy(_scaled(shape[:, :1], AMPLITUDES))
        phase = _scaled(shape[:, 1:], PHASES)

        def points(axis: str, count: int) -> tuple[Tensor, Tensor]:
            x = _scaled(random_numbers.uniform(seed, axis, address, count), INPUTS)
            # torch's sine takes a tenth of NumPy's time, which was half of the time of a draw
            y = torch.from_numpy(x - phase).sin_().mul_(height)
            return torch.from_numpy(x)[..., None], y[..., None]

        return Task(points("support", self.shots), points("query", self.queries))

    def _net(self) -> torch.nn.Module:
        return architectures.mlp((1, *self.hidden, 1))


def _scaled(uniforms: NDArray[np.float64], interval: tuple[float, float]) -> NDArray[np.float64]:
    low, high = interval
    return low + (high - low) * uniforms


def _mean_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    # Written out: F.mse_loss fails under nested vmap and forward mode in torch 2.13.
    return ((prediction - target) ** 2).mean()
