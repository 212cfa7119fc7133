"""The same meta-gradient by metabench, by other libraries, and by a plain loop.

Each contender is a function without arguments that gives the mean meta-gradient `(Q,)`. A library
that isn't installed is left out, and said.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from problems import INNER_RATE, Case
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import metabench as mb

LIBRARIES = ("higher", "torchopt", "learn2learn's rule")
Contender = Callable[[], Tensor]


def of(case: Case, steps: int, engines: Sequence[str]) -> dict[str, Contender]:
    """Return every contender that can run here, the plain loop first."""
    made: dict[str, Contender] = {"loop": plain_loop(case, steps)}
    for name, maker in zip(LIBRARIES, (higher, torchopt, learn2learn), strict=True):
        try:
            made[name] = maker(case, steps)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    made["torch.func by hand"] = functional(case, steps)
    for engine in engines:
        subject = mb.Subject(
            case.problem, lambda address, seed: case.tasks, mb.MAML(steps), case.theta
        )
        algorithm, compute = subject.resolved(case.tasks)
        name = f"metabench {engine} ({compute.batching}, {algorithm.rematerialize})"
        made[name] = metabench(
            case, algorithm, mb.Vectorization(compute.batching, compute.chunk, engine)
        )
    return made


def metabench(case: Case, algorithm: mb.Algorithm, compute: mb.Vectorization) -> Contender:
    """The adjoint recursion of this package, at a named policy."""
    many = compute.per_task(lambda theta, task: algorithm(case.problem, theta, task).grad)
    return lambda: many(case.theta, case.tasks).mean(0)


def plain_loop(case: Case, steps: int) -> Contender:
    """torch.autograd through the unroll of the module itself, one task after another."""
    loss = on_module(case)

    def run() -> Tensor:
        total = torch.zeros_like(case.theta)
        for support, query in _each(case):
            theta = case.theta.clone().requires_grad_()
            phi = theta
            for _ in range(steps):
                (gradient,) = torch.autograd.grad(loss(phi, support), phi, create_graph=True)
                phi = phi - INNER_RATE * gradient
            (whole,) = torch.autograd.grad(loss(phi, query), theta)
            total += whole
        return total / _count(case)

    return run


def functional(case: Case, steps: int) -> Contender:
    """torch.func as its documentation has it: vmap over tasks of grad through the unroll."""
    loss = on_module(case)

    def adapted_loss(theta: Tensor, support: Any, query: Any) -> Tensor:
        phi = theta
        for _ in range(steps):
            phi = phi - INNER_RATE * grad(loss)(phi, support)
        return loss(phi, query)

    many = vmap(grad(adapted_loss), in_dims=(None, 0, 0))
    return lambda: many(case.theta, case.tasks.support, case.tasks.query).mean(0)


def on_module(case: Case) -> Callable[[Tensor, Any], Tensor]:
    """Give `(phi, (x, y)) -> ()`, the loss of the module as torch has it."""
    unflatten = case.problem.layouts.phi.unflatten
    return lambda phi, data: case.loss(functional_call(case.net, unflatten(phi), data[0]), data[1])


def higher(case: Case, steps: int, net: nn.Module | None = None) -> Contender:
    """facebookresearch/higher, as its MAML example has it; it leaves the sum in `net`'s grads."""
    import higher as library

    net = copy.deepcopy(case.net) if net is None else net
    inner = torch.optim.SGD(net.parameters(), lr=INNER_RATE)

    def run() -> Tensor:
        net.zero_grad()
        for (x, y), (query_x, query_y) in _each(case):
            with library.innerloop_ctx(net, inner, copy_initial_weights=False) as (fast, step):
                for _ in range(steps):
                    step.step(case.loss(fast(x), y))
                case.loss(fast(query_x), query_y).backward()
        return _flat_grad(net) / _count(case)

    return run


def torchopt(case: Case, steps: int, net: nn.Module | None = None) -> Contender:
    """metaopt/torchopt, as its MAML example has it; it leaves the sum in `net`'s grads."""
    import torchopt as library

    net = copy.deepcopy(case.net) if net is None else net
    inner = library.MetaSGD(net, lr=INNER_RATE)

    def run() -> Tensor:
        net.zero_grad()
        start = library.extract_state_dict(net, by="reference"), library.extract_state_dict(inner)
        for (x, y), (query_x, query_y) in _each(case):
            for _ in range(steps):
                inner.step(case.loss(net(x), y))
            case.loss(net(query_x), query_y).backward()
            library.recover_state_dict(net, start[0])
            library.recover_state_dict(inner, start[1])
        return _flat_grad(net) / _count(case)

    return run


def learn2learn(case: Case, steps: int) -> Contender:
    """The update rule of learnables/learn2learn, which can't be installed any more.

    A module is copied with its parameters replaced by differentiable tensors, and each inner step
    sets every parameter to `p - rate * gradient` with the gradient's graph kept.
    """

    def run() -> Tensor:
        case.net.zero_grad()
        for (x, y), (query_x, query_y) in _each(case):
            fast = _replaced(case.net, iter([p.clone() for p in case.net.parameters()]))
            for _ in range(steps):
                now = list(_tensors(fast))
                gradients = torch.autograd.grad(case.loss(fast(x), y), now, create_graph=True)
                moved = [p - INNER_RATE * g for p, g in zip(now, gradients, strict=True)]
                fast = _replaced(fast, iter(moved))
            case.loss(fast(query_x), query_y).backward()
        return _flat_grad(case.net) / _count(case)

    return run


def _replaced(module: nn.Module, tensors: Iterator[Tensor]) -> nn.Module:
    """Copy a tree of modules with its parameters replaced, in order, by `tensors`."""
    new = copy.copy(module)
    new._parameters = {
        name: None if old is None else next(tensors) for name, old in module._parameters.items()
    }
    new._modules = {name: _replaced(child, tensors) for name, child in module._modules.items()}
    return new


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    for part in module.modules():
        yield from (p for p in part._parameters.values() if p is not None)


def _each(case: Case) -> Iterator[tuple[Any, Any]]:
    for i in range(_count(case)):
        yield (
            (case.tasks.support[0][i], case.tasks.support[1][i]),
            (case.tasks.query[0][i], case.tasks.query[1][i]),
        )


def _count(case: Case) -> int:
    return len(case.tasks.query[0])


def _flat_grad(net: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.reshape(-1) for parameter in net.parameters()])
