"""A problem and a family of a user's own, on metabench's public names alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import metabench as mb

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(1, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))

Pairs = tuple[Tensor, Tensor]


def _drawn(index: int, seed: int) -> tuple[Pairs, Pairs]:
    noise = torch.Generator().manual_seed(1_000_000 * seed + index)
    phase, x = 3 * torch.rand(1, generator=noise), 10 * torch.rand(8, 1, generator=noise) - 5
    y = torch.sin(x + phase)
    return (x[:4], y[:4]), (x[4:], y[4:])


def _sample(indices: NDArray[np.int64], seed: int) -> tuple[Pairs, Pairs]:
    tasks = [_drawn(int(i), seed) for i in indices]
    made: tuple[Pairs, Pairs] = torch.utils.data.default_collate(tasks)
    return made


def _uniform(seed: int, count: int, *counters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Draw numbers in [0, 1) that hang on the seed and a task's counters alone, `(T, count, 1)`."""
    each = [
        np.random.default_rng((seed, *map(int, ids))).random(count)
        for ids in zip(*counters, strict=True)
    ]
    return np.stack(each)[..., None]


of_module = mb.Problem.from_module(net, torch.nn.functional.mse_loss)
tasks = mb.Indexed(_sample)
# revisions before 0.2.0 put a problem and its tasks together by Own
problem = mb.Own(of_module, tasks) if hasattr(mb, "Own") else of_module._replace(tasks=tasks)


@dataclass(frozen=True)
class Waves(mb.Family):  # type: ignore[misc]  # public names are loaded on first use, untyped
    """Sines of a random phase, with addresses, so that support and query are redrawn apart."""

    shots: int = 5  # support points of a task [examples]

    def problem(self) -> mb.Problem:
        """Give the network and its loss."""
        return mb.Problem.from_module(net, torch.nn.functional.mse_loss)

    def theta(self, seed: int) -> Tensor:
        """Give the network's own weights."""
        theta: Tensor = self.problem().theta.double()
        return theta

    def sample(self, address: mb.Address, seed: int) -> mb.Task:
        """Draw the phase by the task, points by their set."""
        phase = 3 * _uniform(seed, 1, address.task)

        def points(count: int, draw: NDArray[np.int64]) -> Pairs:
            x = 10 * _uniform(seed, count, address.task, draw) - 5
            return torch.tensor(x), torch.tensor(x + phase).sin()

        return mb.Task(points(self.shots, address.support), points(5, address.query + 2**32))
