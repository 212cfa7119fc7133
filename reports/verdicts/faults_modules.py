"""Faults inside a user's module, loss or solver, under metabench's own algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import metabench as mb
from metabench.algorithms.maml import MAML
from metabench.linalg.solvers.solver import Matvec, Solve, Solver, relative_residual
from reports.verdicts.cases import Fault, network, sampler, seeded, subject

USUAL = MAML(3, mb.SGD(0.3))


class WrongBackward(torch.autograd.Function):
    """tanh whose derivative is that of a steeper one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Compute tanh."""
        return torch.tanh(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Store the input."""
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Tensor:
        """Forget the square."""
        (x,) = ctx.saved_tensors
        out: Tensor = slopes[0] * (1 - torch.tanh(x).abs())
        return out


class Wrong(nn.Module):
    """An activation with a fault of its derivative."""

    def __init__(self, kind: str) -> None:
        """Choose the fault."""
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Compute tanh, or x times a gate."""
        if self.kind == "backward":
            return WrongBackward.apply(x)  # type: ignore[no-untyped-call, no-any-return]
        if self.kind == "gate":
            return x * torch.sigmoid(x).detach()
        return x.tanh() + 0.3 * (x.sin() - x.sin().detach())  # "surrogate"


class Cut(nn.Module):
    """A network one of whose weights is detached."""

    def __init__(self) -> None:
        """Take two layers."""
        super().__init__()
        self.body, self.head = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Predict, `(examples, 1)`."""
        h = torch.tanh(nn.functional.linear(x, self.body.weight.detach(), self.body.bias))
        out: Tensor = self.head(h)
        return out


def of_module(kind: str, seed: int) -> mb.Subject:
    """Return MAML on a module with a fault."""
    net = seeded(Cut, seed) if kind == "cut" else network(seed, partial(Wrong, kind))
    return subject(net, USUAL, sampler(seed), mse_loss)


def of_loss(seed: int) -> mb.Subject:
    """Return MAML on a loss whose weights should be differentiated."""

    def loss(p: Tensor, y: Tensor) -> Tensor:
        weights = ((p - y) ** 2).detach()
        return (weights * (p - y) ** 2).mean()

    return subject(network(seed), USUAL, sampler(seed), loss)


@dataclass(frozen=True)
class Own(MAML):
    """MAML whose own backward pass has a fault."""

    exact: ClassVar[bool] = True
    kind: str = ""

    def __call__(self, problem: mb.Problem, theta: Tensor, task: mb.Task) -> mb.MetaGrad:
        """Return the estimate with the fault."""
        right = super().__call__(problem, theta, task)
        other = {
            "first order": mb.FOMAML(self.steps, self.inner_optimizer),
            "truncated": mb.MAML(self.steps, self.inner_optimizer, truncate=1),
            "step missing": mb.MAML(self.steps - 1, self.inner_optimizer),
            "rate doubled": mb.MAML(self.steps, mb.SGD(0.6)),
        }[self.kind]
        return right._replace(grad=other(problem, theta, task).grad)


def of_algorithm(kind: str, seed: int) -> mb.Subject:
    """Return an algorithm of a user's that claims to be exact."""
    return subject(network(seed), Own(3, mb.SGD(0.3), kind=kind), sampler(seed), mse_loss)


@dataclass(frozen=True)
class Scaled(Solver):
    """A dense solve with a fault."""

    kind: str = ""

    def __call__(self, matvec: Matvec, b: Tensor) -> Solve:
        """Solve A x = b, `(P,)`, nearly."""
        solve: Solve = mb.Dense()(matvec, b)
        x = {"half": 0.5 * solve.x, "identity": b, "twice": matvec(b)}[self.kind]
        return solve._replace(x=x, residual=relative_residual(matvec, x, b))


def of_solver(solver: Solver, seed: int) -> mb.Subject:
    """Return implicit MAML, its inner loop converged, with a solver."""
    algorithm = mb.IMAML(150, mb.SGD(0.2), proximal_strength=2.0, solver=solver)
    return subject(network(seed), algorithm, sampler(seed), mse_loss)


DERIVATIVE = ("autograd.Function", "detach")
SOLVE = ("linear solve", "solver")
OWN = (
    ("first order", "first-order gradient"),
    ("truncated", "inner step 1 "),
    ("step missing", "after 2 inner steps"),
    ("rate doubled", "2 times the inner rate"),
)
FAULTS = (
    Fault("wrong backward of an activation", DERIVATIVE, partial(of_module, "backward")),
    Fault("gate detached in an activation", DERIVATIVE, partial(of_module, "gate")),
    Fault("surrogate derivative", DERIVATIVE, partial(of_module, "surrogate")),
    Fault("`body.weight` detached in the module", ("`body.weight`",), partial(of_module, "cut")),
    Fault("weights of the loss detached", DERIVATIVE, of_loss),
    *(Fault(f"own algorithm: {kind}", (words,), partial(of_algorithm, kind))
      for kind, words in OWN),
    Fault("CG cut short", SOLVE, partial(of_solver, mb.CG(steps=1))),
    Fault("Neumann series diverges", SOLVE, partial(of_solver, mb.Neumann(steps=30, scale=2.0))),
    Fault("Neumann series cut short", SOLVE, partial(of_solver, mb.Neumann(steps=2, scale=0.05))),
    Fault("solver returns half", SOLVE, partial(of_solver, Scaled("half"))),
    Fault("solver returns b", SOLVE, partial(of_solver, Scaled("identity"))),
    Fault("solver multiplies in place of dividing", SOLVE, partial(of_solver, Scaled("twice"))),
)  # fmt: skip
