"""What the parametrized tests run over: members taken from the lists, and one small problem."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metabench.algorithms.base import Algorithm
from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.problems.parameter_layout import Layout, Layouts
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

SPECTRA = {  # of matrices that eigensolvers are tried on
    "spread": torch.linspace(-1, 10, 60),
    "clustered": torch.cat([torch.linspace(1, 1.01, 50), torch.linspace(5, 5.001, 10)]),
    "repeated": torch.tensor([3.0] * 20 + [1.0] * 20 + [-2.0] * 20),
    "indefinite": torch.linspace(-10, 10, 60),
    "rank deficient": torch.cat([torch.zeros(50), torch.linspace(1, 2, 10)]),
    "one large": torch.cat([torch.linspace(0, 1e-3, 59), torch.tensor([1e4])]),
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


def mixed() -> tuple[Problem, Tensor, Task]:
    """theta: phi_0 before a tanh, a penalty in the inner loss, and another in the outer loss."""
    phi, full = Layout(("phi",), ((4,),)), Layout(("theta",), ((6,),))
    problem = Problem(
        init=lambda theta: torch.tanh(theta[:4]),
        inner_loss=lambda p, t, d: (
            ((d[0] @ p - 1) ** 2).mean() + (p * p).sum() + t[4].exp() * (p**4).sum()
        ),
        outer_loss=lambda p, t, d: (d[0] @ p).sin().mean() + t[5].exp() * (p**4).sum(),
        layouts=Layouts(phi, full),
    )
    generator = torch.Generator().manual_seed(3)
    theta = torch.randn(6, generator=generator, dtype=torch.float64)
    data = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    return problem, theta, Task((data[0],), (data[1],))


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
