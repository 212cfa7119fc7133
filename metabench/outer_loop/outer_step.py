"""One outer step: the meta-gradient and the update, separately or as one compiled function."""

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
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.task_batch import Batch, BatchForm, Rows
from metabench.outer_loop.theta_update import ThetaUpdate, UpdateState

# An outer step before its update: mean outer loss of its tasks; |g| of the mean meta-gradient
# before clipping; and a function that updates theta and returns the outer rate, and 1 if clipping
# changed the gradient.
StepNorms = tuple[float, float, Callable[[], tuple[float, float]]]
OuterStep = Callable[[int, Batch, ThetaUpdate, RingBuffer], StepNorms]  # of a step and its tasks


def make_outer_step(batches: MeanGradients, theta_update: ThetaUpdate) -> OuterStep:
    """Return a compiled step for the engine `compile` without custom updates, else an eager one.

    Only on a CPU: on other devices separate kernels are launched ahead anyway.
    """
    here = theta_update.theta.device.type == "cpu"
    if (
        batches.compute.engine == "compile"
        and batches.together
        and theta_update.optimizer_only
        and here
    ):
        return CompiledStep(batches)
    return EagerStep(batches)


class EagerStep:
    """The meta-gradient, then the update: for any algorithm and engine."""

    def __init__(self, batches: MeanGradients) -> None:
        """Prepare the mean meta-gradient; it is traced or compiled at the first call."""
        self._means = batches.fast_means()

    def __call__(
        self, step: int, batch: Batch, theta_update: ThetaUpdate, ring: RingBuffer
    ) -> StepNorms:
        """Compute the mean meta-gradient of a batch at theta, without updating theta yet."""
        theta = theta_update.theta
        gradient, summary, statistics = self._means(theta, batch.tasks)
        loss, norm, clipped = summary.tolist()
        ring.add(step, theta)
        return loss, norm, lambda: (theta_update(gradient, statistics), clipped)


class CompiledStep:
    """A whole step as one compiled function, with torch's optimizer traced in it.

    Next to a meta-gradient of half a millisecond, each separate call costs many times its
    arithmetic, because its data have left the caches (benchmarks/README.md).
    """

    def __init__(self, batches: MeanGradients) -> None:
        """Prepare the step; each form of batch is compiled at its first call."""
        self._batches = batches
        self._first_step = EagerStep(
            replace(batches, compute=replace(batches.compute, engine="eager"))
        )
        self._fallback = EagerStep(batches)  # where it can't be compiled
        self._made: dict[BatchForm, Specialized | None] = {}
        self._form: BatchForm | None = (
            None  # of the previous batch; batches drawn together share one
        )
        self._step: Specialized | None = None
        self._rate, self._rate_given = torch.zeros((), dtype=torch.float64), 0.0

    def __call__(
        self, step: int, batch: Batch, theta_update: ThetaUpdate, ring: RingBuffer
    ) -> StepNorms:
        """Compute the updated theta for a batch, without replacing theta yet."""
        if step == 0:  # torch's own step creates the optimizer's state
            return self._first_step(step, batch, theta_update, ring)
        rate, held = theta_update.rate, theta_update.update_state
        if rate != self._rate_given:
            self._rate, self._rate_given = torch.tensor(rate, dtype=torch.float64), rate
        if batch.drawn.form is not self._form:
            self._form, self._step = batch.drawn.form, self._function_for(batch, theta_update)
        if self._step is None:
            return self._fallback(step, batch, theta_update, ring)
        summary, _, *moved = self._step.run((*held, self._rate, *batch.rows))
        loss, norm, clipped = summary.tolist()
        ring.add_uncopied(step, held[0])

        def move() -> tuple[float, float]:
            theta_update.take_over(moved)
            return rate, clipped

        return loss, norm, move

    def _function_for(self, batch: Batch, theta_update: ThetaUpdate) -> Specialized | None:
        """Return the function for batches of this form, compiled once."""
        form, held, rows, rate = batch.drawn.form, theta_update.update_state, batch.rows, self._rate
        if form in self._made:
            return self._made[form]
        means, move = (
            self._batches.means(),
            update_function(self._batches.outer, theta_update.slots),
        )

        def step(held: UpdateState, rate: Tensor, rows: Rows) -> tuple[Tensor, ...]:
            gradient, summary, _ = means(held[0], form.tasks(rows))
            return summary, gradient, *move(held, rate, gradient)

        def expected(found: Sequence[Tensor]) -> tuple[Tensor, ...]:
            # Adam scales a gradient of pure round-off up like any other, so the update is checked
            # for the gradient that was computed.
            gradient, summary, _ = means(held[0], form.tasks(rows))
            return summary, gradient, *move(held, rate, found[1])

        engine = self._batches.compute.engine
        self._made[form] = specialize(step, engine, (held, rate, rows), expected)
        return self._made[form]


def update_function(
    outer: OuterOptimizer, names: tuple[str, ...]
) -> Callable[[UpdateState, Tensor, Tensor], tuple[Tensor, ...]]:
    """Return `(theta and state, outer rate, gradient) -> (theta and state)` for torch's optimizer.

    The optimizer steps from zero at rate 1, and that step times the rate is added to theta: every
    optimizer's step is proportional to its rate, so a schedule needs no recompilation.
    """
    decay, bare = outer.weight_decay, replace(outer, rate=1.0, weight_decay=0.0)

    def move(held: UpdateState, rate: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        theta, *slots = held
        update = torch.zeros_like(theta)
        update.grad = gradient
        if decay and outer.optimizer == "adamw":
            theta = theta * (1 - rate * decay)
        elif decay:
            update.grad = gradient + decay * theta
        optimizer = bare.build(update, differentiable=True)
        # a step count becomes float64, in which Adam's bias correction is computed
        state: dict[str, Any] = {
            name: slot.clone() if slot.dim() else slot.to(torch.float64, copy=True)
            for name, slot in zip(names, slots, strict=True)
        }
        optimizer.state[update] = state
        with torch.no_grad():
            step_without_hooks(optimizer)
        after = [state[name].to(slot.dtype) for name, slot in zip(names, slots, strict=True)]
        return theta + rate * update, *after

    return move
