"""Faults that differences of the loss can't resolve: each must be undecided, with its floor."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

import metabench as mb
from reports.verdicts.cases import Data, Fault, Healthy, Loop, Theta, network, sampler, subject


def in_float32(error: float, steps: int, seed: int) -> mb.Subject:
    """A loss through float32, and a gradient off by about as much as that resolves."""
    loop = Loop(seed, steps)

    def loss(phi: Theta, data: Data) -> Tensor:
        out = functional_call(loop.net, phi, (data[0],))
        return nn.functional.mse_loss(out.float(), data[1].float())

    def right(theta: Theta, task: mb.Task) -> Tensor:
        phi = loop.adapted(theta, task.support, loss=loss)
        return loss(phi, task.query)

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        slopes = grad(right)(theta, task)
        wave = {n: (1 + error * torch.cos(3 * theta[n] * 1e3)) * s for n, s in slopes.items()}
        return right(theta, task), wave

    return loop.subject(estimate)


def straight_through(seed: int) -> mb.Subject:
    """A loss of rounded outputs with another loss's gradient."""
    loop = Loop(seed)

    def right(theta: Theta, task: mb.Task) -> Tensor:
        phi = loop.adapted(theta, task.support)
        out = functional_call(loop.net, phi, (task.query[0],))
        errors: Tensor = torch.round(4 * out) / 4 - task.query[1]
        return (errors**2).mean()

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        return right(theta, task), grad(loop.objective)(theta, task)

    return loop.subject(estimate)


def chaotic(seed: int) -> mb.Subject:
    """First order where 100 steps amplify round-off to the size of the loss."""

    def loss(p: Tensor, y: Tensor) -> Tensor:
        return 10 * nn.functional.mse_loss(p, y)

    net = network(seed)

    def inner(phi: Theta, data: Data) -> Tensor:
        return loss(functional_call(net, phi, (data[0],)), data[1])

    def adapted(theta: Theta, task: mb.Task) -> Theta:
        phi = theta
        for _ in range(100):
            slopes = grad(inner)(phi, task.support)
            phi = {n: phi[n] - 0.1 * slopes[n] for n in phi}
        return phi

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        phi = adapted(theta, task)
        return inner(phi, task.query), grad(inner)(phi, task.query)

    return subject(net, mb.BlackBox(estimate), sampler(seed), loss)


def accuracy(seed: int) -> mb.Subject:
    """A loss that counts errors, with the gradient of another."""
    loop = Loop(seed)

    def right(theta: Theta, task: mb.Task) -> Tensor:
        phi = loop.adapted(theta, task.support)
        out = functional_call(loop.net, phi, (task.query[0],))
        missed: Tensor = (out > 0) != (task.query[1] > 0)
        return missed.to(out).mean()

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        return right(theta, task), grad(loop.objective)(theta, task)

    return loop.subject(estimate)


def silent(seed: int) -> mb.Subject:
    """A black box without a loss, first order."""
    loop = Loop(seed)

    def estimate(theta: Theta, task: mb.Task) -> Theta:
        phi = loop.adapted(theta, task.support)
        slopes: Theta = grad(loop.loss)(phi, task.query)
        return slopes

    return loop.subject(estimate)


FAULTS = (
    Fault("off by 1e-3 under a float32 loss", (), partial(in_float32, 1e-3, 3), resolved=False),
    Fault("off by 1e-3 after 20 steps in float32", (), partial(in_float32, 1e-3, 20),
          resolved=False),
    Fault("straight-through gradient of rounded outputs", (), straight_through, resolved=False),
    Fault("first order after 100 chaotic steps", (), chaotic, resolved=False),
    Fault("gradient of a surrogate of the error rate", (), accuracy, resolved=False),
    Fault("black box without a loss, first order", (), silent, resolved=False),
)  # fmt: skip
# An error below a check's limit (1e-4 for differences) is none by that check.
HEALTHY = (
    Healthy("box: off by 1e-7 in float32", partial(in_float32, 1e-7, 3)),
    Healthy("box: off by 1e-5 in float32", partial(in_float32, 1e-5, 3)),
)
