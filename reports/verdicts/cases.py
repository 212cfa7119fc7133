"""What the study is made of: a fault or a healthy case, and the tasks that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

import metabench as mb

Theta = dict[str, Tensor]
Function = Callable[[Theta, mb.Task], Tensor]  # (theta, task) -> loss ()
Data = Any


@dataclass(frozen=True)
class Fault:
    """A fault planted in a meta-gradient whose loss is right."""

    name: str
    causes: tuple[str, ...]  # words of equivalent causes: the first warning has one of them
    made: Callable[[int], mb.Subject]  # of a seed
    resolved: bool = True  # whether differences resolve it; else it must stand as undecided
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the probe
    command: str = "verify"


@dataclass(frozen=True)
class Healthy:
    """A right meta-gradient that a careless check would accuse."""

    name: str
    made: Callable[[int], mb.Subject]


def draw(index: int, seed: int, classes: int = 0) -> Any:
    """Draw a task of 6 + 8 examples with 3 inputs; y is a number, or one of so many classes."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + int(index))
    truth = torch.randn(3, max(classes, 1), generator=generator, dtype=torch.float64)
    x = torch.randn(14, 3, generator=generator, dtype=torch.float64)
    y = x @ truth
    y = y.argmax(1) if classes else torch.sin(y)
    return (x[:6], y[:6]), (x[6:], y[6:])


def sampler(seed: int = 0, classes: int = 0) -> mb.Indexed:
    """Return a sampler whose tasks are other ones for every seed of the study."""

    def sample(indices: Any, drawn: int) -> Any:
        tasks = [draw(i, 1000 * seed + drawn, classes) for i in indices]
        return torch.utils.data.default_collate(tasks)

    return mb.Indexed(sample)


def network(
    seed: int = 0, activation: Callable[[], nn.Module] = nn.Tanh, out: int = 1
) -> nn.Module:
    """Return a small network of two equal square layers and a head, in float64."""
    layers = [nn.Linear(3, 3), activation(), nn.Linear(3, 3), activation(), nn.Linear(3, out)]
    return seeded(lambda: nn.Sequential(*layers), seed)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a module and draw its parameters anew, from a seed of its own."""
    net = build().double()
    generator = torch.Generator().manual_seed(seed + 1)
    for value in net.parameters():
        size = max(value[0].numel() if value.dim() > 1 else 1, 1)
        with torch.no_grad():
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.copy_(noise / size**0.5 if value.dim() > 1 else value + 0.3 * noise)
    return net


def subject(
    net: nn.Module, algorithm: mb.Estimator, tasks: Any, loss: Callable[[Any, Any], Tensor]
) -> mb.Subject:
    """Return what `verify` takes.

    Args:
        net: the module.
        algorithm: the estimator.
        tasks: the sampler.
        loss: of predictions and y.
    """
    problem = mb.Problem.from_module(net, loss, tasks=tasks)
    assert problem.theta is not None
    return mb.Subject(problem, tasks, algorithm, problem.theta)


class Loop:
    """A hand-written inner loop on one network, whose parts can be spoiled one by one."""

    def __init__(self, seed: int = 0, steps: int = 3, rate: float = 0.3) -> None:
        """Take the network of a seed, K steps and their rate."""
        self.net, self.steps, self.rate, self.seed = network(seed), steps, rate, seed

    def loss(self, phi: Theta, data: Data) -> Tensor:
        """Compute the mean squared error `()`."""
        return nn.functional.mse_loss(functional_call(self.net, phi, (data[0],)), data[1])

    def adapted(
        self,
        theta: Theta,
        data: Data,
        edit: Callable[[int, Theta, Theta], Theta] | None = None,
        loss: Callable[[Theta, Data], Tensor] | None = None,
    ) -> Theta:
        """Take K steps; `edit(k, phi, gradient)` may change the gradient of a step.

        Args:
            theta: where adaptation starts.
            data: the support set.
            edit: what is done to each gradient.
            loss: of the inner loop; None is the mean squared error.
        """
        phi, inner = theta, loss or self.loss
        for k in range(self.steps):
            slopes = grad(inner)(phi, data)
            slopes = edit(k, phi, slopes) if edit else slopes
            phi = {name: phi[name] - self.rate * slopes[name] for name in phi}
        return phi

    def objective(self, theta: Theta, task: mb.Task) -> Tensor:
        """Compute the query loss `()` after adaptation: the right one."""
        return self.loss(self.adapted(theta, task.support), task.query)

    def subject(
        self, estimate: Callable[[Theta, mb.Task], Any], declared: bool = False
    ) -> mb.Subject:
        """Return the subject of an estimator `(theta, task) -> (loss, gradient)`.

        Args:
            estimate: the estimator.
            declared: whether it says which algorithm it implements.
        """
        meant = mb.MAML(self.steps, mb.SGD(self.rate)) if declared else None
        box = mb.BlackBox(estimate, implements=meant)
        return subject(self.net, box, sampler(self.seed), nn.functional.mse_loss)


def planted(right: Function, wrong: Function) -> Callable[[Theta, mb.Task], Any]:
    """Return the estimator with the right loss and the gradient of a wrong one."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        return right(theta, task), grad(wrong)(theta, task)

    return estimate


def changed(right: Function, change: Callable[[Theta, Theta], Theta]) -> Any:
    """Return the estimator whose right gradient is changed: `change(gradient, theta)`."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        return right(theta, task), change(grad(right)(theta, task), theta)

    return estimate
