"""Meta-gradients as libraries and examples had them, in about ten lines each, and mended.

Each is a black box `function(theta, task) -> (loss, gradient)`. A fault and its mended version
differ by one argument, which switches the line that was at fault. Run one with

metabench verify --algo reports/bugs_of_history/estimators.py:clipping \
    --problem reports/bugs_of_history/estimators.py:regression
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, jacrev, vmap

import metabench as mb

Theta = dict[str, Tensor]
Estimate = tuple[Tensor, Any]
RATE = 0.3  # of the inner steps


def draw(index: int, seed: int) -> Any:
    """Draw a task of 8 + 8 examples; the last of its 3 inputs is 0, as behind a dead unit."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + int(index))
    truth = torch.randn(3, 1, generator=generator)
    x = torch.randn(2, 8, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.0])
    y = torch.sin(x @ truth)
    return (x[0], y[0]), (x[1], y[1])


def sample(indices: Any, seed: int) -> Any:
    """Draw tasks with a leading axis."""
    return torch.utils.data.default_collate([draw(i, seed) for i in indices])


class Mixture(nn.Module):
    """Three operations, mixed by the softmax of `alpha`, each with weights of its own."""

    def __init__(self) -> None:
        """Start from equal shares and random weights."""
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(3))
        self.weights = nn.Parameter(torch.randn(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the operations' predictions, `(examples, 1)`."""
        each = torch.stack([x, x.tanh(), x.cos()]) @ self.weights[:, :, None]
        return (self.alpha.softmax(0)[:, None, None] * each).sum(0)


def made(build: Callable[[], nn.Module], **parts: Any) -> tuple[nn.Module, mb.Problem]:
    """Build a module with a fixed seed, and its regression problem."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build()
    mse, tasks = nn.functional.mse_loss, mb.Indexed(sample)
    return net, mb.Problem.from_module(net, mse, tasks=tasks, **parts)


tanh, regression = made(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)))
norm, normed = made(lambda: nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1)))
linear, straight = made(lambda: nn.Linear(3, 1))
mixture, search_space = made(Mixture, adapt=["weights"], learn=["alpha"])


def loss(net: nn.Module, theta: Theta, data: Any) -> Tensor:
    """Compute the mean squared error `()` of a network with parameters theta."""
    return nn.functional.mse_loss(functional_call(net, theta, (data[0],)), data[1])


def clip(theta: Theta, task: mb.Task, detached: bool) -> Estimate:
    """One inner step with the gradient clipped to norm 0.1."""

    def objective(theta: Theta) -> Tensor:
        slopes = grad(partial(loss, tanh))(theta, task.support)
        size = torch.stack([s.square().sum() for s in slopes.values()]).sum().sqrt()
        size = size.detach() if detached else size  # the fault
        scale = (0.1 / (size + 1e-6)).clamp(max=1)
        phi = {name: theta[name] - RATE * scale * s for name, s in slopes.items()}
        return loss(tanh, phi, task.query)

    return swapped(grad_and_value(objective)(theta))


def swapped(found: tuple[Any, Tensor]) -> Estimate:
    """Return (loss, gradient) of torch's (gradient, loss)."""
    return found[1], found[0]


def adam(theta: Theta, task: mb.Task, under_root: float) -> Estimate:
    """Two inner steps of Adam, whose second moment is 0 behind the dead input."""

    def objective(theta: Theta) -> Tensor:
        phi, zero = dict(theta), torch.tensor(0.0)
        mean, square = dict.fromkeys(theta, zero), dict.fromkeys(theta, zero)
        for k in (1, 2):
            for name, s in grad(partial(loss, tanh))(phi, task.support).items():
                mean[name] = 0.9 * mean[name] + 0.1 * s
                square[name] = 0.999 * square[name] + 0.001 * s**2
                root = (square[name] / (1 - 0.999**k) + under_root).sqrt()  # the fault: 0
                phi[name] = phi[name] - 0.1 * mean[name] / (1 - 0.9**k) / (root + 1e-8)
        return loss(tanh, phi, task.query)

    return swapped(grad_and_value(objective)(theta))


def after_step(net: nn.Module, theta: Theta, task: mb.Task) -> Tensor:
    """Compute the query loss `()` after one inner step."""
    slopes = grad(partial(loss, net))(theta, task.support)
    return loss(net, {name: theta[name] - RATE * s for name, s in slopes.items()}, task.query)


def outer_step(theta: Theta, tasks: mb.Task, detached: bool) -> Estimate:
    """Sum the tasks' losses, each adapted from a copy of theta."""

    def objective(theta: Theta) -> Tensor:
        start, total = theta, torch.tensor(0.0)
        for i in range(len(tasks.query[1])):
            one = mb.Task(*((x[i], y[i]) for x, y in (tasks.support, tasks.query)))
            total = total + after_step(tanh, start, one) / len(tasks.query[1])
            if detached:  # the fault: later tasks start from copies that nothing leads back from
                start = {name: value.detach().clone() for name, value in theta.items()}
        return total

    return swapped(grad_and_value(objective)(theta))


def fused(theta: Theta, tasks: mb.Task, through: bool) -> Estimate:
    """Average over tasks by vmap, with a layer norm inside."""
    one = partial(after_step, norm)
    if through:  # the fault: a gradient through vmap takes the norm's wrong batching rule
        whole = grad_and_value(lambda theta: vmap(one, (None, 0))(theta, tasks).mean())
        return swapped(whole(theta))
    grads, losses = vmap(grad_and_value(one), (None, 0))(theta, tasks)
    return losses.mean(), {name: g.mean(0) for name, g in grads.items()}


def darts(theta: Theta, task: mb.Task, moved: bool) -> Estimate:
    """Second-order DARTS: the mixed derivative as a difference of gradients at w + v and w - v."""
    w = mixture.get_parameter("weights").detach().to(theta["alpha"])

    def slopes(w: Tensor, data: Any) -> tuple[Tensor, Tensor]:
        found = grad(partial(loss, mixture))({**theta, "weights": w}, data)
        return found["weights"], found["alpha"]

    after = w - RATE * slopes(w, task.support)[0]
    v, direct = slopes(after, task.query)
    r = 0.01 / v.norm()
    plus, minus = (w + r * v, w - r * v) if moved else (w, w)  # the fault: both at w
    mixed = (slopes(plus, task.support)[1] - slopes(minus, task.support)[1]) / (2 * r)
    value = loss(mixture, {**theta, "weights": after}, task.query)
    return value, {"alpha": direct - RATE * mixed}


def implicit(theta: Theta, task: mb.Task, strength: float) -> Estimate:
    """The implicit gradient at the inner minimum, which is searched for from theta."""
    start = torch.cat([value.ravel() for value in theta.values()])

    def error(phi: Tensor, data: Any) -> Tensor:
        return nn.functional.mse_loss(data[0] @ phi[:3, None] + phi[3], data[1])

    def inner(phi: Tensor, start: Tensor) -> Tensor:
        decay = 0.05 * phi @ phi
        return error(phi, task.support) + decay + strength / 2 * (phi - start).square().sum()

    phi = start
    for _ in range(25):
        phi = phi - 0.15 * grad(inner)(phi, start)
    H, mixed = jacrev(grad(inner), (0, 1))(phi, start)
    x = torch.linalg.solve(H, grad(error)(phi, task.query))
    return error(phi, task.query), -mixed.T @ x


clipping = mb.BlackBox(partial(clip, detached=True))
clipping_mended = mb.BlackBox(partial(clip, detached=False))
adam_root = mb.BlackBox(partial(adam, under_root=0.0))
adam_root_mended = mb.BlackBox(partial(adam, under_root=1e-16))
one_task = mb.BlackBox(partial(outer_step, detached=True), batched=True)
one_task_mended = mb.BlackBox(partial(outer_step, detached=False), batched=True)
fused_norm = mb.BlackBox(partial(fused, through=True), batched=True)
fused_norm_mended = mb.BlackBox(partial(fused, through=False), batched=True)
first_order = mb.BlackBox(partial(darts, moved=False))
first_order_mended = mb.BlackBox(partial(darts, moved=True))
no_path = mb.BlackBox(partial(implicit, strength=0.0))
no_path_mended = mb.BlackBox(partial(implicit, strength=4.0))
