"""Modules with odd parameters, buffers, shared parts, own derivatives and branches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from reports.what_runs.case import Case, regression

POINTS = regression(3)


class Symmetric(nn.Module):
    """A parametrization by the sum with the transpose."""

    def forward(self, weight: Tensor) -> Tensor:
        """Make a matrix symmetric."""
        return weight.triu() + weight.triu(1).mT


def _parametrized() -> nn.Module:
    middle = parametrize.register_parametrization(nn.Linear(4, 4), "weight", Symmetric())
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), middle, nn.Tanh(), nn.Linear(4, 1))


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.into, self.first = nn.Linear(3, 4), nn.Linear(4, 4)
        self.second, self.out = self.first, nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        hidden = torch.tanh(self.first(torch.tanh(self.into(x))))
        out: Tensor = self.out(torch.tanh(self.second(hidden)))
        return out


class Temperature(nn.Module):
    """A learned temperature, one number without an axis."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(0.1))
        self.body, self.out = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(torch.tanh(self.body(x) * self.log_temperature.exp()))
        return out


class Cubed(torch.autograd.Function):
    """x^3 with a derivative of its own and no rule for vmap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        """Compute x^3."""
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Multiply by 3 x^2."""
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class OwnFunction(nn.Module):
    """A layer whose activation is a custom function."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.body, self.out = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        cubed: Tensor = Cubed.apply(self.body(x))  # type: ignore[no-untyped-call]
        out: Tensor = self.out(cubed)
        return out


class Permuted(nn.Module):
    """Integer and Boolean buffers, which select and mask."""

    order: Tensor
    kept: Tensor

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("kept", torch.tensor([True, False, True, True]))
        self.body, self.out = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        out: Tensor = self.out(torch.tanh(self.body(x[:, self.order])) * self.kept)
        return out


class Counter(nn.Module):
    """A module that counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.register_buffer("calls", torch.tensor(0))
        self.body, self.out = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction, which changes with every call."""
        self.calls += 1
        out: Tensor = self.out(torch.tanh(self.body(x)) / self.calls.clone())
        return out


class Checkpointed(nn.Module):
    """A block that is recomputed in the backward pass to save memory."""

    def __init__(self, recompute: bool = True) -> None:
        """Make the layers."""
        super().__init__()
        self.recompute = recompute
        self.into, self.out = nn.Linear(3, 4), nn.Linear(4, 1)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction."""
        hidden = torch.tanh(self.into(x))
        if self.recompute:
            hidden = checkpoint(self.block, hidden, use_reentrant=False)
        else:
            hidden = self.block(hidden)
        out: Tensor = self.out(hidden)
        return out


def _checkpointed() -> nn.Module:
    return Checkpointed().double()  # in float32, theta in float64 would give it away


class Branch(nn.Module):
    """An `if` on a tensor."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.one, self.other, self.out = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the prediction by one of two layers."""
        body = self.one if x.mean() > 0 else self.other
        out: Tensor = self.out(torch.tanh(body(x)))
        return out


CASES = (
    Case("parametrized", _parametrized, POINTS, "4.*"),
    Case("double_registered", Twice, POINTS, "out.*"),
    Case("temperature", Temperature, POINTS, "out.*"),
    Case("custom_function", OwnFunction, POINTS, "out.*"),
    Case("integer_buffers", Permuted, POINTS, "out.*"),
    Case("counter", Counter, POINTS, "out.*"),
    Case(
        "checkpointed",
        lambda: Checkpointed().double(),
        POINTS,
        "out.*",
        plain=lambda: Checkpointed(False),
    ),
    Case("branch", Branch, POINTS, "out.*"),
)
