"""Right black boxes: written by hand, and with higher and TorchOpt where these are installed."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap
from torch.utils.checkpoint import checkpoint

import metabench as mb
from reports.verdicts.cases import Data, Healthy, Loop, Theta, sampler, subject

Estimate = Callable[[Theta, mb.Task], Any]


def swapped(found: tuple[Any, Tensor]) -> tuple[Tensor, Any]:
    """Return (loss, gradient) of torch's (gradient, loss)."""
    return found[1], found[0]


def edited(kind: str, loop: Loop) -> Estimate:
    """Change the inner gradient and differentiate through the change."""

    def edit(k: int, phi: Theta, slopes: Theta) -> Theta:
        size = torch.stack([s.square().sum() for s in slopes.values()]).sum().sqrt()
        return {
            "clipped by norm": lambda: {
                n: s * (0.1 / size).clamp(max=1) for n, s in slopes.items()
            },
            "clipped by value": lambda: {n: s.clamp(-0.05, 0.05) for n, s in slopes.items()},
            "weight decay": lambda: {n: s + 0.1 * phi[n] for n, s in slopes.items()},
            "normalized": lambda: {n: s / size for n, s in slopes.items()},
            "rate that falls": lambda: {n: s / (k + 1) for n, s in slopes.items()},
            "signs": lambda: {n: 0.1 * s.sign() for n, s in slopes.items()},
        }[kind]()

    def objective(theta: Theta, task: mb.Task) -> Tensor:
        return loop.loss(loop.adapted(theta, task.support, edit), task.query)

    return lambda theta, task: swapped(grad_and_value(objective)(theta, task))


def by_torch(loop: Loop) -> Estimate:
    """The plain loop with create_graph=True."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        start = {n: v.requires_grad_() for n, v in theta.items()}
        phi = start
        for _ in range(loop.steps):
            inner = loop.loss(phi, task.support)
            slopes = torch.autograd.grad(inner, list(phi.values()), create_graph=True)
            phi = {n: v - loop.rate * s for (n, v), s in zip(phi.items(), slopes, strict=True)}
        outer = loop.loss(phi, task.query)
        return outer, torch.autograd.grad(outer, list(start.values()))

    return estimate


def in_float32(loop: Loop) -> Estimate:
    """All of it in float32, whatever theta comes in."""
    loop.net = loop.net.float()

    def estimate(theta: Theta, task: mb.Task) -> Any:
        low = {n: v.float() for n, v in theta.items()}
        cast = mb.Task(*((x.float(), y.float()) for x, y in (task.support, task.query)))
        return swapped(grad_and_value(loop.objective)(low, cast))

    return estimate


def scaled_up(loop: Loop) -> Estimate:
    """A loss scale of 65,536 that is removed again."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        slopes = grad(lambda at: 65536 * loop.objective(at, task))(theta)
        return loop.objective(theta, task), {n: s / 65536 for n, s in slopes.items()}

    return estimate


def silent(loop: Loop) -> Estimate:
    """Only a gradient."""
    return lambda theta, task: grad(loop.objective)(theta, task)


def flat(loop: Loop) -> Estimate:
    """One vector, and the loss as a number."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        slopes, value = grad_and_value(loop.objective)(theta, task)
        return float(value), torch.cat([s.ravel() for s in slopes.values()])

    return estimate


def rematerialized(loop: Loop) -> Estimate:
    """Every inner step checkpointed."""
    names = list(dict(loop.net.named_parameters()))

    def step(data: Data, *values: Tensor) -> tuple[Tensor, ...]:
        phi = dict(zip(names, values, strict=True))
        with torch.enable_grad():
            slopes = torch.autograd.grad(loop.loss(phi, data), values, create_graph=True)
        return tuple(v - loop.rate * s for v, s in zip(values, slopes, strict=True))

    def estimate(theta: Theta, task: mb.Task) -> Any:
        start = [v.requires_grad_() for v in theta.values()]
        values: Any = tuple(start)
        for _ in range(loop.steps):
            values = checkpoint(step, task.support, *values, use_reentrant=False)
        outer = loop.loss(dict(zip(names, values, strict=True)), task.query)
        return outer, torch.autograd.grad(outer, start)

    return estimate


def micro_batches(loop: Loop) -> Estimate:
    """The query loss accumulated over four micro-batches."""

    def estimate(theta: Theta, task: mb.Task) -> Any:
        total: Theta = {n: torch.zeros_like(v) for n, v in theta.items()}
        value = torch.zeros(()).double()
        for part in range(4):
            rows = slice(2 * part, 2 * part + 2)
            one = task._replace(query=(task.query[0][rows], task.query[1][rows]))
            slopes, loss = grad_and_value(loop.objective)(theta, one)
            total = {n: total[n] + s / 4 for n, s in slopes.items()}
            value = value + loss / 4
        return value, total

    return estimate


def implicit(loop: Loop) -> Estimate:
    """The gradient of an inner problem solved exactly: ridge on the features of the body."""

    def objective(theta: Theta, task: mb.Task) -> Tensor:
        def features(x: Tensor) -> Tensor:
            h = (x @ theta["0.weight"].T + theta["0.bias"]).tanh()
            return (h @ theta["2.weight"].T + theta["2.bias"]).tanh()

        h, (x, y) = features(task.support[0]), task.query
        gram = h.T @ h + 0.1 * torch.eye(3).to(h)
        center = theta["4.weight"][0][:, None]
        w = center + torch.linalg.solve(gram, h.T @ (task.support[1] - h @ center))
        errors: Tensor = features(x) @ w + theta["4.bias"] - y
        return (errors**2).mean()

    return lambda theta, task: swapped(grad_and_value(objective)(theta, task))


def with_higher(loop: Loop) -> Estimate:
    """The loop of higher."""
    higher: Any = importlib.import_module("higher")

    def estimate(theta: Theta, task: mb.Task) -> Any:
        net = copy.deepcopy(loop.net)
        net.load_state_dict(theta)
        made = torch.optim.SGD(net.parameters(), loop.rate)
        with higher.innerloop_ctx(net, made, copy_initial_weights=False) as (inner, diff):
            for _ in range(loop.steps):
                diff.step(nn.functional.mse_loss(inner(task.support[0]), task.support[1]))
            outer = nn.functional.mse_loss(inner(task.query[0]), task.query[1])
            return outer, torch.autograd.grad(outer, list(inner.parameters(time=0)))

    return estimate


def with_torchopt(adam: bool, loop: Loop) -> Estimate:
    """The loop of TorchOpt, with its SGD or Adam."""
    torchopt: Any = importlib.import_module("torchopt")

    def estimate(theta: Theta, task: mb.Task) -> Any:
        net = copy.deepcopy(loop.net)
        net.load_state_dict(theta)
        start = list(net.parameters())
        made = torchopt.MetaAdam(net, lr=0.05) if adam else torchopt.MetaSGD(net, lr=loop.rate)
        for _ in range(loop.steps):
            made.step(nn.functional.mse_loss(net(task.support[0]), task.support[1]))
        outer = nn.functional.mse_loss(net(task.query[0]), task.query[1])
        return outer, torch.autograd.grad(outer, start)

    return estimate


def batched(seed: int) -> mb.Subject:
    """The mean over tasks, each differentiated inside the vmap."""
    loop = Loop(seed)

    def estimate(theta: Theta, tasks: mb.Task) -> Any:
        def one(theta: Theta, support: Data, query: Data) -> Tensor:
            return loop.objective(theta, mb.Task(support, query))

        each = vmap(grad_and_value(one), (None, 0, 0))
        slopes, losses = each(theta, tasks.support, tasks.query)
        return losses.mean(), {n: s.mean(0) for n, s in slopes.items()}

    box = mb.BlackBox(estimate, batched=True)
    return subject(loop.net, box, sampler(seed), nn.functional.mse_loss)


def made(
    build: Callable[[Loop], Estimate], seed: int, steps: int = 3, relu: bool = False
) -> mb.Subject:
    """Return the subject of a black box."""
    loop = Loop(seed, steps)
    if relu:
        layers = list(loop.net.children())
        loop.net = nn.Sequential(*(nn.ReLU() if i % 2 else m for i, m in enumerate(layers)))
    return loop.subject(build(loop))


def library(build: Callable[[Loop], Estimate], name: str) -> Callable[[Loop], Estimate]:
    """Return the library's loop, or the plain one where it is not installed."""
    return build if importlib.util.find_spec(name) else by_torch


EDITS = (
    "clipped by norm", "clipped by value", "weight decay", "normalized", "rate that falls", "signs",
)  # fmt: skip
HEALTHY = (
    *(Healthy(f"box: {kind}", partial(made, partial(edited, kind))) for kind in EDITS),
    Healthy("box: torch.autograd", partial(made, by_torch)),
    Healthy("box: torch.autograd, ReLU", partial(made, by_torch, relu=True)),
    Healthy("box: torch.autograd, K = 40", partial(made, by_torch, steps=40)),
    Healthy("box: float32", partial(made, in_float32)),
    Healthy("box: float32, K = 20", partial(made, in_float32, steps=20)),
    Healthy("box: loss scale removed", partial(made, scaled_up)),
    Healthy("box: without a loss", partial(made, silent)),
    Healthy("box: a flat vector", partial(made, flat)),
    Healthy("box: checkpointed", partial(made, rematerialized)),
    Healthy("box: micro-batches", partial(made, micro_batches)),
    Healthy("box: closed-form inner solution", partial(made, implicit)),
    Healthy("box: whole batches", batched),
    Healthy("box: higher", partial(made, library(with_higher, "higher"))),
    Healthy(
        "box: TorchOpt, SGD", partial(made, library(partial(with_torchopt, False), "torchopt"))
    ),
    Healthy(
        "box: TorchOpt, Adam", partial(made, library(partial(with_torchopt, True), "torchopt"))
    ),
)
