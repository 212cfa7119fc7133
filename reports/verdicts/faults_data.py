"""Faults in what the gradient is taken of: data, steps, rates, and what is kept between calls."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import metabench as mb
from reports.verdicts.cases import Fault, Function, Loop, Theta, network, planted, sampler, subject

Change = Callable[[Loop], Function]  # of a loop: the function whose gradient is taken


def of(change: Change, causes: tuple[str, ...], name: str, declared: bool = False) -> Fault:
    """Return the fault of a gradient that is another function's.

    Args:
        change: the function, of a loop.
        causes: words of equivalent causes.
        name: in the table.
        declared: whether the black box says which algorithm it implements.
    """

    def made(seed: int) -> mb.Subject:
        loop = Loop(seed)
        return loop.subject(planted(loop.objective, change(loop)), declared)

    return Fault(name, causes, made)


def on(change: Callable[[mb.Task], mb.Task]) -> Change:
    """Return the function of a changed task."""
    return lambda loop: lambda theta, task: loop.objective(theta, change(task))


def with_loop(**settings: Any) -> Change:
    """Return the function of other steps or another rate."""

    def change(loop: Loop) -> Function:
        other = Loop(loop.seed, **{"steps": loop.steps, "rate": loop.rate, **settings})
        return other.objective

    return change


def absolute(loop: Loop) -> Function:
    """Return the objective with another outer loss."""

    def wrong(theta: Theta, task: mb.Task) -> Tensor:
        phi = loop.adapted(theta, task.support)
        out = functional_call(loop.net, phi, (task.query[0],))
        return nn.functional.l1_loss(out, task.query[1])

    return wrong


def all_steps(loop: Loop) -> Function:
    """Return the mean of the query losses after every step, as MAML++ trains on."""
    loops = [Loop(loop.seed, steps, loop.rate) for steps in range(1, loop.steps + 1)]
    return lambda theta, task: torch.stack([each.objective(theta, task) for each in loops]).mean()


def state(kind: str, seed: int) -> mb.Subject:
    """Keep something between calls, or draw without a seed."""
    loop, calls = Loop(seed), itertools.count()
    held: list[Theta] = []
    noise = torch.Generator().manual_seed(seed)

    def estimate(theta: Theta, task: mb.Task) -> tuple[Tensor, Theta]:
        slopes = grad(loop.objective)(theta, task)
        value = loop.objective(theta, task)
        if kind == "momentum" and held:
            slopes = {n: s + 0.5 * held[-1][n] for n, s in slopes.items()}
        if kind == "previous":
            slopes, given = (held[-1] if held else slopes), slopes
            held.append(given)
            return value, slopes
        if kind == "dropout":
            keep = torch.rand(1, generator=noise) < 0.7
            slopes = {n: s * (1 + 0.3 * keep) for n, s in slopes.items()}
        if kind == "rate":
            slopes = {n: s * 0.99 ** next(calls) for n, s in slopes.items()}
        held.append(slopes)
        return value, slopes

    return loop.subject(estimate)


def batched(kind: str, seed: int) -> mb.Subject:
    """Give whole batches, with tasks mixed up."""
    net, K, rate = network(seed), 3, 0.3

    def loss(phi: Theta, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.mse_loss(functional_call(net, phi, (x,)), y)

    def one(theta: Theta, support: Any, query: Any) -> Tensor:
        phi = theta
        for _ in range(K):
            slopes = grad(loss)(phi, *support)
            phi = {n: phi[n] - rate * slopes[n] for n in phi}
        return loss(phi, *query)

    def mean(theta: Theta, support: Any, query: Any) -> Tensor:
        each: Tensor = vmap(one, (None, 0, 0))(theta, support, query)
        return each.mean()

    def estimate(theta: Theta, tasks: mb.Task) -> tuple[Tensor, Theta]:
        value = mean(theta, tasks.support, tasks.query)
        support, query = tasks.support, tasks.query
        if kind == "rolled":
            query = (query[0].roll(1, 0), query[1].roll(1, 0))
        if kind == "first":
            support, query = ((d[0][:1], d[1][:1]) for d in (support, query))
        slopes = grad(mean)(theta, support, query)
        if kind == "sum":
            slopes = {n: len(query[0]) * s for n, s in slopes.items()}
        if kind == "normed":
            size = torch.stack([s.norm() for s in slopes.values()]).norm()
            slopes = {n: s / (1 + len(query[0]) * size) for n, s in slopes.items()}
        return value, slopes

    box = mb.BlackBox(estimate, batched=True)
    return subject(net, box, sampler(seed), nn.functional.mse_loss)


RANDOM = ("Two calls", "seed generators")
TASKS = ("another task", "one task that enters another", "task whose gradient is lost")
FAULTS = (
    of(on(lambda t: mb.Task(t.query, t.support)),
       ("support and query set exchanged",), "support and query exchanged"),
    of(on(lambda t: mb.Task(t.support, t.support)),
       ("on the support set",), "query forgotten: support twice"),
    of(on(lambda t: mb.Task(t.query, t.query)),
       ("adaptation to the query set",), "adapted to the query set"),
    of(with_loop(steps=0), ("without adaptation",), "not adapted at all"),
    of(on(lambda t: t._replace(query=(t.query[0][:-1], t.query[1][:-1]))),
       ("last query example",), "last query example left out"),
    of(on(lambda t: t._replace(support=(t.support[0][:-1], t.support[1][:-1]))),
       ("last support example",), "last support example left out"),
    of(with_loop(steps=2), ("after 2 inner steps",), "last inner step missing", True),
    of(with_loop(steps=4), ("after 4 inner steps",), "one inner step too many", True),
    of(with_loop(rate=0.6), ("2 times the inner rate",), "inner rate doubled", True),
    of(with_loop(rate=0.03), ("0.1 times the inner rate",), "inner rate a tenth", True),
    of(absolute, ("not the gradient of the loss",), "another outer loss"),
    of(all_steps, ("after all inner steps",), "losses of all steps for the last one's", True),
    Fault("momentum kept between calls", RANDOM, partial(state, "momentum")),
    Fault("gradient of the task before", RANDOM, partial(state, "previous")),
    Fault("random mask without a seed", RANDOM, partial(state, "dropout")),
    Fault("scale that decays with every call", RANDOM, partial(state, "rate")),
    Fault("batch: query sets rolled over tasks", TASKS, partial(batched, "rolled")),
    Fault("batch: one task's gradient for all", TASKS, partial(batched, "first")),
    Fault("batch: sum for mean", ("sum over tasks",), partial(batched, "sum")),
    Fault("batch: scaled by its size", TASKS, partial(batched, "normed")),
)  # fmt: skip
