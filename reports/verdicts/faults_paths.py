"""Faults that cut a path from theta to the loss: the value is right, a derivative is missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

import metabench as mb
from reports.verdicts.cases import Data, Fault, Loop, Theta, planted, seeded

CUT = ("detach", "create_graph")


def without(
    names: Callable[[str], bool], at: Callable[[int], bool], loop: Loop, declared: bool = False
) -> mb.Subject:
    """Detach the inner gradient of some layers at some steps."""

    def edit(k: int, phi: Theta, slopes: Theta) -> Theta:
        return {n: s.detach() if names(n) and at(k) else s for n, s in slopes.items()}

    def wrong(theta: Theta, task: mb.Task) -> Tensor:
        return loop.loss(loop.adapted(theta, task.support, edit), task.query)

    return loop.subject(planted(loop.objective, wrong), declared)


def edited(edit: Callable[[int, Theta, Theta, bool], Theta], loop: Loop) -> mb.Subject:
    """Change the inner gradient, in the value and, but for a cut path, in the derivative."""

    def objective(theta: Theta, task: mb.Task, cut: bool) -> Tensor:
        def step(k: int, phi: Theta, slopes: Theta) -> Theta:
            return edit(k, phi, slopes, cut)

        return loop.loss(loop.adapted(theta, task.support, step), task.query)

    return loop.subject(planted(partial(objective, cut=False), partial(objective, cut=True)))


def norm(slopes: Theta) -> Tensor:
    """Return the norm `()` of a gradient."""
    return torch.stack([s.square().sum() for s in slopes.values()]).sum().sqrt()


def clipped(k: int, phi: Theta, slopes: Theta, cut: bool) -> Theta:
    """Clip to a norm of 0.1; the norm is not differentiated."""
    size = norm(slopes)
    size = size.detach() if cut else size
    return {n: s * (0.1 / size).clamp(max=1) for n, s in slopes.items()}


def normalized(k: int, phi: Theta, slopes: Theta, cut: bool) -> Theta:
    """Divide by the norm, which is not differentiated."""
    size = norm(slopes)
    return {n: s / (size.detach() if cut else size) for n, s in slopes.items()}


def decayed(k: int, phi: Theta, slopes: Theta, cut: bool) -> Theta:
    """Add weight decay that the backward pass leaves out."""
    return {n: s + 0.3 * (phi[n].detach() if cut else phi[n]) for n, s in slopes.items()}


def momentum(loop: Loop) -> mb.Subject:
    """Momentum whose buffer is not differentiated."""

    def objective(theta: Theta, task: mb.Task, cut: bool) -> Tensor:
        phi, held = theta, {n: torch.zeros_like(v) for n, v in theta.items()}
        for _ in range(loop.steps):
            slopes = grad(loop.loss)(phi, task.support)
            kept = {n: h.detach() if cut else h for n, h in held.items()}
            held = {n: 0.9 * kept[n] + s for n, s in slopes.items()}
            phi = {n: phi[n] - loop.rate * held[n] for n in phi}
        return loop.loss(phi, task.query)

    return loop.subject(planted(partial(objective, cut=False), partial(objective, cut=True)))


def adam(loop: Loop) -> mb.Subject:
    """Adam whose second moment is not differentiated."""

    def objective(theta: Theta, task: mb.Task, cut: bool) -> Tensor:
        phi = theta
        mean, square = ({n: torch.zeros_like(v) for n, v in theta.items()} for _ in range(2))
        for k in range(1, loop.steps + 1):
            for n, s in grad(loop.loss)(phi, task.support).items():
                mean[n] = 0.9 * mean[n] + 0.1 * s
                square[n] = 0.99 * square[n] + 0.01 * (s.detach() if cut else s) ** 2
                root = (square[n] / (1 - 0.99**k) + 1e-6).sqrt()
                phi = {**phi, n: phi[n] - 0.1 * mean[n] / (1 - 0.9**k) / root}
        return loop.loss(phi, task.query)

    return loop.subject(planted(partial(objective, cut=False), partial(objective, cut=True)))


def proximal(loop: Loop) -> mb.Subject:
    """A pull towards theta in the inner loss, which is not differentiated in theta."""

    def objective(theta: Theta, task: mb.Task, cut: bool) -> Tensor:
        center = {n: v.detach() for n, v in theta.items()} if cut else theta

        def inner(phi: Theta, data: Data) -> Tensor:
            apart = torch.stack([(phi[n] - center[n]).square().sum() for n in phi]).sum()
            return loop.loss(phi, data) + apart

        return loop.loss(loop.adapted(theta, task.support, loss=inner), task.query)

    return loop.subject(planted(partial(objective, cut=False), partial(objective, cut=True)))


def direct(loop: Loop) -> mb.Subject:
    """A penalty on the distance to theta in the outer loss, not differentiated in theta."""

    def objective(theta: Theta, task: mb.Task, cut: bool) -> Tensor:
        center = {n: v.detach() for n, v in theta.items()} if cut else theta
        phi = loop.adapted(theta, task.support)
        apart = torch.stack([(phi[n] - center[n]).square().sum() for n in phi]).sum()
        return loop.loss(phi, task.query) + 0.5 * apart

    return loop.subject(planted(partial(objective, cut=False), partial(objective, cut=True)))


def copied(loop: Loop) -> mb.Subject:
    """Adapt a detached copy, as after copy.deepcopy(net): theta is reached by no path."""

    def wrong(theta: Theta, task: mb.Task) -> Tensor:
        return loop.objective({n: v.detach() for n, v in theta.items()}, task)

    return loop.subject(planted(loop.objective, wrong))


class Weighted(nn.Module):
    """Features weighted by a softmax of their own, whose path can be cut."""

    def __init__(self, cut: bool) -> None:
        """Take two layers; the weights' path is cut in the one that is planted."""
        super().__init__()
        self.cut, self.scores, self.head = cut, nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        weights = self.scores(x).softmax(-1)
        out: Tensor = self.head((weights.detach() if self.cut else weights) * x)
        return out


class Normalized(nn.Module):
    """A batch norm written by hand, whose statistics can be cut."""

    def __init__(self, cut: bool) -> None:
        """Take two layers."""
        super().__init__()
        self.cut, self.body, self.head = cut, nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        h = self.body(x)
        mean, var = h.mean(0), h.var(0)
        mean, var = (mean.detach(), var.detach()) if self.cut else (mean, var)
        out: Tensor = self.head((h - mean) / (var + 1e-3).sqrt())
        return out


class Masked(nn.Module):
    """Three layers, the middle one detached where that is planted."""

    def __init__(self, cut: bool) -> None:
        """Take three layers."""
        super().__init__()
        self.cut = cut
        self.first, self.middle, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        weight = self.middle.weight.detach() if self.cut else self.middle.weight
        h = nn.functional.linear(self.first(x).tanh(), weight, self.middle.bias)
        out: Tensor = self.head(h.tanh())
        return out


def in_module(
    build: Callable[[bool], nn.Module], loop: Loop, outer_only: bool = False
) -> mb.Subject:
    """Cut a path within the module; the loss is that of the whole one."""
    whole, cut = seeded(lambda: build(False), loop.seed), seeded(lambda: build(True), loop.seed)
    loop.net = whole

    def loss(net: nn.Module, phi: Theta, data: Data) -> Tensor:
        return nn.functional.mse_loss(functional_call(net, phi, (data[0],)), data[1])

    def wrong(theta: Theta, task: mb.Task) -> Tensor:
        phi = theta
        for _ in range(loop.steps):  # the inner steps are right; their derivatives are not
            right = grad(partial(loss, whole))(phi, task.support)
            bad = right if outer_only else grad(partial(loss, cut))(phi, task.support)
            phi = {n: phi[n] - loop.rate * (bad[n] + (right[n] - bad[n]).detach()) for n in phi}
        return loss(cut, phi, task.query)

    return loop.subject(planted(loop.objective, wrong))


def every(_: object) -> bool:
    """Return True."""
    return True


def path(name: str, made: Callable[[Loop], mb.Subject], causes: tuple[str, ...] = CUT) -> Fault:
    """Return a fault made on the usual loop.

    Args:
        name: in the table.
        made: of a loop.
        causes: words of equivalent causes.
    """
    return Fault(name, causes, lambda seed: made(Loop(seed)))


FAULTS = (
    path("first order sold as second", partial(without, every, every)),
    path("first inner step detached", partial(without, every, lambda k: k == 0)),
    path("last inner step detached", partial(without, every, lambda k: k == 2)),
    path("middle inner step detached", partial(without, every, lambda k: k == 1)),
    path("truncated to the last step", partial(without, every, lambda k: k < 2)),
    path("inner gradient of `2.weight` detached",
         partial(without, lambda n: n == "2.weight", every)),
    path("inner gradient of the biases detached", partial(without, lambda n: "bias" in n, every)),
    path("inner gradient of the head detached", partial(without, lambda n: n[0] == "4", every)),
    path("MAML said: first order", partial(without, every, every, declared=True), ("first-order",)),
    path("MAML said: first step detached", partial(without, every, lambda k: k == 0, declared=True),
         ("inner step 1 ",)),
    path("MAML said: inner gradient of `2.weight` detached",
         partial(without, lambda n: n == "2.weight", every, declared=True), ("layer `2.weight`",)),
    path("MAML said: inner gradient of the biases detached",
         partial(without, lambda n: "bias" in n, every, declared=True), ("layer `0.bias`",)),
    path("clipping not differentiated", partial(edited, clipped)),
    path("normalized steps not differentiated", partial(edited, normalized)),
    path("weight decay missing in the adjoint", partial(edited, decayed)),
    path("momentum buffer detached", momentum),
    path("second moment of Adam detached", adam),
    path("proximal center detached", proximal),
    path("direct term missing", direct),
    path("a detached copy is adapted", copied, ("exactly zero",)),
    path("attention weights detached", partial(in_module, Weighted)),
    path("batch statistics detached", partial(in_module, Normalized)),
    path("`middle.weight` detached in the module",
         partial(in_module, Masked), ("middle.weight",)),
    path("`middle.weight` detached in the query loss",
         partial(in_module, Masked, outer_only=True), CUT),
)  # fmt: skip
