"""Benchmark problems: the MAML paper's sinusoid and a four-block convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import metabench as mb
from metabench.problems import architectures

INNER_RATE = 0.01


class Case(NamedTuple):
    """A network with its loss, tasks and theta, as a user of any library would hold them."""

    name: str
    net: nn.Module  # holds theta, for libraries that adapt modules
    loss: Callable[[Tensor, Tensor], Tensor]
    problem: mb.Problem
    theta: Tensor  # (Q,)
    tasks: mb.Task  # leading T

    def alone(self, i: int) -> Case:
        """Keep one task."""
        sets = (self.tasks.support, self.tasks.query)
        return self._replace(tasks=mb.Task(*(tuple(x[i : i + 1] for x in own) for own in sets)))


def sinusoid(tasks: int) -> Case:
    """1-40-40-1 ReLU, ten shots (Finn, Abbeel & Levine, 2017)."""
    family = mb.Sinusoid()
    theta = family.theta(0).float()
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(), theta)
    drawn = subject.draw(mb.Address.fresh(0, tasks), 0)
    loss = lambda prediction, y: ((prediction - y) ** 2).mean()  # ruff: ignore[lambda-assignment]
    return _case("sinusoid", architectures.mlp((1, 40, 40, 1)), loss, theta, drawn)


def conv4(tasks: int) -> Case:
    """Four blocks of 32 filters with batch norm, 28x28 images, 5 ways, 1 shot, 15 queries."""
    net = architectures.conv(4, 32, 5, 28)
    generator = torch.Generator().manual_seed(0)

    def images(each: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(tasks, 5 * each, 1, 28, 28, generator=generator)
        return x, torch.arange(5).repeat_interleave(each).repeat(tasks, 1)

    drawn = mb.Task(images(1), images(15))
    return _case(
        "conv4",
        net,
        functional.cross_entropy,
        architectures.initial_parameters(net, 0).float(),
        drawn,
    )


def _case(name: str, net: nn.Module, loss: Callable, theta: Tensor, tasks: mb.Task) -> Case:
    problem = mb.Problem.from_module(net, loss)
    net.load_state_dict(problem.layouts.theta.unflatten(theta), strict=False)
    return Case(name, net, loss, problem, theta, tasks)


PROBLEMS: dict[str, Callable[[int], Case]] = {"sinusoid": sinusoid, "conv4": conv4}
