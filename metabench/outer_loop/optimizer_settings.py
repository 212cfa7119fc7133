"""Settings of the outer loop: torch's optimizers and schedules by name, clipping, batch size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    SequentialLR,
    StepLR,
)

from metabench.autodiff.clipping import check_limits, clipped
from metabench.settings.errors import InvalidInput, unknown
from metabench.settings.keywords import Settings

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda of, outer, **how: torch.optim.SGD(
        of, outer.rate, weight_decay=outer.weight_decay, **how
    ),
    "momentum": lambda of, outer, **how: torch.optim.SGD(
        of, outer.rate, momentum=outer.momentum, weight_decay=outer.weight_decay, **how
    ),
    "adam": lambda of, outer, **how: torch.optim.Adam(
        of, outer.rate, weight_decay=outer.weight_decay, **how
    ),
    "adamw": lambda of, outer, **how: torch.optim.AdamW(
        of, outer.rate, weight_decay=outer.weight_decay, **how
    ),
    "rmsprop": lambda of, outer, fused=False, **how: torch.optim.RMSprop(  # never fused in torch
        of, outer.rate, weight_decay=outer.weight_decay, **how
    ),
}
SCHEDULES = ("constant", "step", "cosine")
# Settings that do not change an outer step as a function of theta, tasks and rate.
NOT_IN_STEP_FUNCTION = {
    "rate",
    "schedule",
    "warmup",
    "period",
    "factor",
    "epoch",
    "held_out",
    "explode",
}


@dataclass(frozen=True)
class OuterOptimizer(Settings):
    """Settings of the outer loop; optimizers and schedules are torch's, with torch's defaults.

    Weight decay is added to the gradient, except for adamw, where it is decoupled
    (Loshchilov & Hutter, 2019, https://arxiv.org/abs/1711.05101).

    >>> import torch
    >>> import metabench as mb
    >>> outer = mb.OuterOptimizer("momentum", rate=0.1, clip_norm=1.0)
    >>> outer.clipped(torch.tensor([3.0, 4.0])).norm()
    tensor(1.)
    >>> theta = torch.zeros(2)
    >>> type(outer.build(theta))
    <class 'torch.optim.sgd.SGD'>
    """

    settings_group: ClassVar[str] = "outer"

    optimizer: str = "adam"  # sgd, momentum, adam, adamw or rmsprop
    rate: float = 0.001  # outer learning rate beta [1/curvature]
    momentum: float = 0.9  # decay factor of the momentum buffer (optimizer=momentum) [1]
    weight_decay: float = 0.0  # L2 penalty on theta, decoupled for adamw [curvature]
    batch: int = 25  # B, tasks per outer step [tasks]
    epoch: int = 500  # outer steps per epoch of an annealed algorithm [steps]
    clip_norm: float = math.inf  # largest norm of the meta-gradient [gradient norm]
    clip_value: float = math.inf  # largest entry of the meta-gradient [gradient entry]
    clip_tasks: bool = False  # clip each task's meta-gradient rather than their mean
    schedule: str = "constant"  # constant, step or cosine
    warmup: int = 0  # first steps, over which the rate rises linearly [steps]
    period: int = 1000  # outer steps between two cuts of the rate (schedule=step) [steps]
    factor: float = 0.1  # factor of each cut of the rate (schedule=step) [1]
    held_out: int = 256  # tasks for validation, never trained on [tasks]
    explode: float = 1e4  # stop if |g| exceeds its recent median this many times; inf: never [1]

    def __post_init__(self) -> None:
        """Validate every field."""
        if self.optimizer not in OPTIMIZERS:
            raise unknown("outer optimizer", self.optimizer, OPTIMIZERS)
        if self.schedule not in SCHEDULES:
            raise unknown("outer schedule", self.schedule, SCHEDULES)
        for name in ("rate", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"outer.{name} is {getattr(self, name)}; it must be finite and at least 0."
                )
        for name, least in (("batch", 1), ("held_out", 2), ("period", 1), ("warmup", 0),
                            ("epoch", 1)):  # fmt: skip
            if getattr(self, name) < least:
                raise InvalidInput(
                    f"outer.{name} is {getattr(self, name)}; it must be {least} or more."
                )
        for name in ("momentum", "factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInput(f"outer.{name} is {getattr(self, name)}; it must lie in [0, 1].")
        check_limits(clip_norm=self.clip_norm, clip_value=self.clip_value)
        if not self.explode > 1:
            raise InvalidInput(
                f"outer.explode is {self.explode}; it must be greater than 1 (inf: never stop)."
            )

    @property
    def clips(self) -> bool:
        """Whether clipping is on: any limit is finite."""
        return min(self.clip_norm, self.clip_value) < math.inf

    def clipped(self, gradients: Tensor) -> Tensor:
        """Clip one gradient `(Q,)` or each of several `(T, Q)`."""
        return clipped(gradients, self.clip_norm, self.clip_value)

    def build(self, theta: Tensor, differentiable: bool = False) -> Optimizer:
        """Return torch's optimizer of theta `(Q,)`: fused, or differentiable for tracing."""
        how = {"differentiable": True} if differentiable else {"fused": True}
        return OPTIMIZERS[self.optimizer]([theta], self, **how)

    def scheduler(self, optimizer: Optimizer, steps: int) -> LRScheduler | None:
        """Return torch's schedule over `steps` outer steps; None where the rate is constant."""
        if self.schedule == "constant" and not self.warmup:
            return None
        after: LRScheduler
        if self.schedule == "step":
            after = StepLR(optimizer, self.period, self.factor)
        elif self.schedule == "cosine":
            after = CosineAnnealingLR(optimizer, max(steps - self.warmup, 1))
        else:
            after = LambdaLR(optimizer, _unchanged)
        if not self.warmup:
            return after
        rising = LinearLR(optimizer, 1 / (self.warmup + 1), total_iters=self.warmup)
        return SequentialLR(optimizer, [rising, after], [self.warmup])


def _unchanged(step: int) -> float:
    return 1.0


def same_step_function(one: OuterOptimizer, other: OuterOptimizer) -> bool:
    """Return whether both make a step the same function of theta, tasks and outer rate."""
    names = {field.name for field in fields(OuterOptimizer)} - NOT_IN_STEP_FUNCTION
    return all(getattr(one, name) == getattr(other, name) for name in names)
