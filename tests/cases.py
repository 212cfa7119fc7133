"""What the parametrised tests run over: members taken from the lists, and one small problem."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.algorithms.base import Algorithm
from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.settings import registry

ALGORITHMS = sorted(registry.members("algorithms"))
FAMILIES = sorted(
    name for name in registry.members("families") if not registry.load("families", name).needs
)
SOLVERS = sorted(registry.members("solvers"))

STEPS = {
    "sgd": SGD(rate=0.1),
    "momentum": Momentum(rate=0.1, momentum=0.8),
    "adam": Adam(rate=0.05),
    "sgd clipped by norm": SGD(rate=0.5, clip_norm=0.3),
    "sgd clipped by value": SGD(rate=0.5, clip_value=0.05),
    "adam clipped by norm": Adam(rate=0.05, clip_norm=0.1),
}


def net(kind: str) -> nn.Module:
    """A small network of each kind that second derivatives have been seen to go wrong in."""
    middle = {
        "plain": [],
        "batch norm": [nn.BatchNorm1d(6, track_running_stats=False)],
        "layer norm": [nn.LayerNorm(6)],
    }[kind]
    return nn.Sequential(nn.Linear(3, 6), *middle, nn.Tanh(), nn.Linear(6, 2)).double()


def problem(kind: str = "plain") -> Problem:
    return Problem.from_module(net(kind), lambda p, y: ((p - y) ** 2).mean())


def theta(of: Problem, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(of.layouts.theta.size, generator=generator, dtype=torch.float64) * 0.5


def tasks(count: int, seed: int = 0) -> Task:
    generator = torch.Generator().manual_seed(seed)

    def pair(examples: int) -> tuple[Tensor, Tensor]:
        return tuple(
            torch.randn(count, examples, width, generator=generator, dtype=torch.float64)
            for width in (3, 2)
        )

    return Task(pair(7), pair(5))


def one(many: Task, i: int) -> Task:
    return Task(
        tuple(leaf[i] for leaf in many.support),
        tuple(leaf[i] for leaf in many.query),
        many.noise if isinstance(many.noise, tuple) else many.noise[i],
    )


def algorithm(name: str, **settings: object) -> Algorithm:
    return registry.load("algorithms", name)(**settings)


def fresh(count: int) -> Address:
    return Address.fresh(0, count)
