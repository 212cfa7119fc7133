"""One outer step: its meta-gradient, and the move along it, in two parts or as one function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metabench.autodiff.compilation import Specialized, specialize
from metabench.outer_loop.last_steps import RingBuffer
from metabench.outer_loop.low_overhead_optimizer import step_without_hooks
from metabench.outer_loop.mean_gradient import MeanGradients
from metabench.outer_loop.meta_update import MetaUpdate, UpdateState
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.task_batch import Batch, BatchForm, Rows

# What an outer step found ahead of its move: mean outer loss of its tasks, |g| of the mean
# meta-gradient before clipping; and the move, which gives the outer rate, and 1 if clipping cut.
StepNorms = tuple[float, float, Callable[[], tuple[float, float]]]
OuterStep = Callable[[int, Batch, MetaUpdate, RingBuffer], StepNorms]  # of a step and its tasks


def make_outer_step(batches: MeanGradients, meta_update: MetaUpdate) -> OuterStep:
    """Choose: at once where that is compiled, and nothing of theta moves by a rule of its own.

    On the CPU alone: elsewhere what is called apart is launched ahead.
    """
    here = meta_update.theta.device.type == "cpu"
    if (
        batches.compute.engine == "compile"
        and batches.together
        and meta_update.optimizer_only
        and here
    ):
        return CompiledStep(batches)
    return EagerStep(batches)


class EagerStep:
    """The meta-gradient, then torch's optimizer: any algorithm, any engine."""

    def __init__(self, batches: MeanGradients) -> None:
        """Trace or compile nothing yet."""
        self._means = batches.fast_means()

    def __call__(
        self, step: int, batch: Batch, meta_update: MetaUpdate, ring: RingBuffer
    ) -> StepNorms:
        """Apply the mean meta-gradient of these tasks at theta; nothing moves yet."""
        theta = meta_update.theta
        gradient, told, shown = self._means(theta, batch.tasks)
        loss, norm, clipped = told.tolist()
        ring.add(step, theta)
        return loss, norm, lambda: (meta_update(gradient, shown), clipped)


class CompiledStep:
    """All of a step in one compiled function, in which torch's own optimizer is traced too.

    Beside a meta-gradient of half a millisecond, each thing that is called apart costs what the
    caches have lost of it by then, many times its arithmetic (benchmarks/README.md).
    """

    def __init__(self, batches: MeanGradients) -> None:
        """Compile nothing yet."""
        self._batches = batches
        self._first_step = EagerStep(
            replace(batches, compute=replace(batches.compute, engine="eager"))
        )
        self._fallback = EagerStep(batches)  # where it can't be compiled
        self._made: dict[BatchForm, Specialized | None] = {}
        self._form: BatchForm | None = (
            None  # of the batch before: one for all that were drawn together
        )
        self._step: Specialized | None = None
        self._rate, self._rate_given = torch.zeros((), dtype=torch.float64), 0.0

    def __call__(
        self, step: int, batch: Batch, meta_update: MetaUpdate, ring: RingBuffer
    ) -> StepNorms:
        """Compute where these tasks would move theta; nothing moves yet."""
        if step == 0:  # torch's own step begins the optimizer's state
            return self._first_step(step, batch, meta_update, ring)
        rate, held = meta_update.rate, meta_update.update_state
        if rate != self._rate_given:
            self._rate, self._rate_given = torch.tensor(rate, dtype=torch.float64), rate
        if batch.drawn.form is not self._form:
            self._form, self._step = batch.drawn.form, self._function_for(batch, meta_update)
        if self._step is None:
            return self._fallback(step, batch, meta_update, ring)
        told, _, *moved = self._step.run((*held, self._rate, *batch.rows))
        loss, norm, clipped = told.tolist()
        ring.add_uncopied(step, held[0])

        def move() -> tuple[float, float]:
            meta_update.take_over(moved)
            return rate, clipped

        return loss, norm, move

    def _function_for(self, batch: Batch, meta_update: MetaUpdate) -> Specialized | None:
        """Give the function for batches of this form, compiled at the first of them."""
        form, held, rows, rate = batch.drawn.form, meta_update.update_state, batch.rows, self._rate
        if form in self._made:
            return self._made[form]
        means, move = self._batches.means(), update_function(self._batches.outer, meta_update.slots)

        def step(held: UpdateState, rate: Tensor, rows: Rows) -> tuple[Tensor, ...]:
            gradient, told, _ = means(held[0], form.tasks(rows))
            return told, gradient, *move(held, rate, gradient)

        def expected(found: Sequence[Tensor]) -> tuple[Tensor, ...]:
            # Adam makes as much of a gradient that is nothing but round-off as of any other: where
            # theta goes must follow from the gradient that was found.
            gradient, told, _ = means(held[0], form.tasks(rows))
            return told, gradient, *move(held, rate, found[1])

        engine = self._batches.compute.engine
        self._made[form] = specialize(step, engine, (held, rate, rows), expected)
        return self._made[form]


def update_function(
    outer: OuterOptimizer, names: tuple[str, ...]
) -> Callable[[UpdateState, Tensor, Tensor], tuple[Tensor, ...]]:
    """Make `(theta and state, outer rate, gradient) -> (theta and state)`, by torch's optimizer.

    It steps from zero at a rate of 1, and theta goes so much of that way: each optimizer's move is
    proportional to its rate, which a schedule may thus change without compiling anew.
    """
    decay, bare = outer.weight_decay, replace(outer, rate=1.0, weight_decay=0.0)

    def move(held: UpdateState, rate: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        theta, *slots = held
        way = torch.zeros_like(theta)
        way.grad = gradient
        if decay and outer.optimizer == "adamw":
            theta = theta * (1 - rate * decay)
        elif decay:
            way.grad = gradient + decay * theta
        optimizer = bare.build(way, differentiable=True)
        # a count of steps as float64, in which Adam's biases are then corrected
        state: dict[str, Any] = {
            name: slot.clone() if slot.dim() else slot.to(torch.float64, copy=True)
            for name, slot in zip(names, slots, strict=True)
        }
        optimizer.state[way] = state
        with torch.no_grad():
            step_without_hooks(optimizer)
        after = [state[name].to(slot.dtype) for name, slot in zip(names, slots, strict=True)]
        return theta + rate * way, *after

    return move
