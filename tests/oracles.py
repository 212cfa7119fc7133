"""Independent truths: autograd through the whole unroll, dense Hessians, finite differences."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from metabench.algorithms.base import Algorithm
from metabench.problems.problem import Problem
from metabench.problems.tasks import Task


def adapted(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, detach: bool
) -> Tensor:
    """phi_K by a plain loop whose graph reaches theta, with gradients detached if asked."""
    phi = problem.init(theta)
    slots = algorithm.inner_optimizer.start(phi)
    for k in range(algorithm.steps):
        rows = slice(None) if isinstance(task.noise, tuple) else task.noise[k]
        batch = tuple(leaf[rows] for leaf in task.support)
        loss = problem.inner_loss(phi, theta, batch)
        (gradient,) = torch.autograd.grad(loss, phi, create_graph=not detach, retain_graph=True)
        phi, slots = algorithm.inner_optimizer(gradient, phi, slots, k)
    return phi


def unrolled(
    algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task, detach: bool = False
) -> Tensor:
    """The meta-gradient by autograd through the unroll."""
    theta = theta.clone().requires_grad_()
    phi = adapted(algorithm, problem, theta, task, detach)
    (gradient,) = torch.autograd.grad(problem.outer_loss(phi, theta, task.query), theta)
    return gradient


def unrolled_module(
    net: nn.Module, loss: Callable[..., Tensor], task: Task, steps: int = 2, rate: float = 0.1
) -> Tensor:
    """The meta-gradient of a module by plain autograd through inner steps, in float64."""
    learned = {
        name: value.detach().double().requires_grad_()
        for name, value in net.named_parameters()
        if value.requires_grad
    }
    fixed = {
        name: value.double() if value.is_floating_point() else value.clone()
        for name, value in net.named_buffers()
    }
    now = learned

    def value(data: tuple[Tensor, Tensor]) -> Tensor:
        x = data[0] if isinstance(data[0], tuple) else (data[0],)
        return loss(functional_call(net, {**fixed, **now}, x), data[1])

    with sdpa_kernel(SDPBackend.MATH):
        for _ in range(steps):
            support = value(task.support)
            slopes = torch.autograd.grad(support, list(now.values()), create_graph=True)
            pairs = zip(now.items(), slopes, strict=True)
            now = {name: at - rate * slope for (name, at), slope in pairs}
        found = torch.autograd.grad(value(task.query), list(learned.values()))
    return torch.cat([each.reshape(-1) for each in found])


def outer(algorithm: Algorithm, problem: Problem, theta: Tensor, task: Task) -> float:
    """F(phi_K(theta)), for finite differences."""
    start = theta.clone().requires_grad_()
    phi = adapted(algorithm, problem, start, task, detach=True)
    return float(problem.outer_loss(phi.detach(), theta, task.query))


def directional(function: Callable[[Tensor], float], at: Tensor, along: Tensor, h: float) -> float:
    """A central difference with one Richardson extrapolation, of error O(h^4)."""

    def central(step: float) -> float:
        return (function(at + step * along) - function(at - step * along)) / (2 * step)

    return (4 * central(h / 2) - central(h)) / 3


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def symmetric(eigenvalues: list[float] | Tensor, seed: int = 0) -> Tensor:
    """A dense symmetric matrix of this spectrum, in a random basis."""
    generator = torch.Generator().manual_seed(seed)
    P = len(eigenvalues)
    basis, _ = torch.linalg.qr(torch.randn(P, P, generator=generator, dtype=torch.float64))
    return basis @ torch.diag(torch.as_tensor(eigenvalues, dtype=torch.float64)) @ basis.T


def implicit(problem: Problem, phi: Tensor, theta: Tensor, task: Task) -> Tensor:
    """F_theta - G_theta,phi G_phi,phi^-1 F_phi from dense second derivatives by torch.autograd."""
    hessian = torch.autograd.functional.hessian

    def inner(p: Tensor, t: Tensor) -> Tensor:
        return problem.inner_loss(p, t, task.support)

    (pp, pt), _ = hessian(inner, (phi, theta))
    leaves = phi.clone().requires_grad_(), theta.clone().requires_grad_()
    value = problem.outer_loss(*leaves, task.query)
    in_phi, direct = torch.autograd.grad(value, leaves, allow_unused=True)
    direct = torch.zeros_like(theta) if direct is None else direct
    return direct - pt.T @ torch.linalg.solve(pp, in_phi)
