"""One outer step: its meta-gradient, and the move along it, in two parts or as one function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metabench.engine import Fixed, fixed
from metabench.outer.batch import Batch, Drawn, Form, Rows
from metabench.outer.gradients import Batches
from metabench.outer.lean import bare_step
from metabench.outer.move import Held, Mover
from metabench.outer.recorder import Ring

# What an outer step found ahead of its move: mean outer loss of its tasks, |g| of the mean
# meta-gradient before clipping; and the move, which gives the outer rate, and 1 if clipping cut.
Seen = tuple[float, float, Callable[[], tuple[float, float]]]
Stride = Callable[[int, Batch, Mover, Ring], Seen]  # of a step's number and tasks


def stride_of(batches: Batches, mover: Mover) -> Stride:
    """Choose: at once where that is compiled, and nothing of theta moves by a rule of its own.

    On the CPU alone: elsewhere what is called apart is launched ahead.
    """
    here = mover.theta.device.type == "cpu"
    if batches.lift.engine == "compile" and batches.together and mover.plain and here:
        return AtOnce(batches)
    return InParts(batches)


class InParts:
    """The meta-gradient, then torch's optimiser: any algorithm, any engine."""

    def __init__(self, batches: Batches) -> None:
        """Trace or compile nothing yet."""
        self._means = batches.fast_means()

    def __call__(self, step: int, batch: Batch, mover: Mover, ring: Ring) -> Seen:
        """Apply the mean meta-gradient of these tasks at theta; nothing moves yet."""
        theta = mover.theta
        gradient, told, shown = self._means(theta, batch.tasks)
        loss, norm, clipped = told.tolist()
        ring.add(step, theta)
        return loss, norm, lambda: (mover(gradient, shown), clipped)


class AtOnce:
    """All of a step in one compiled function, in which torch's own optimiser is traced too.

    Beside a meta-gradient of half a millisecond, each thing that is called apart costs what the
    caches have lost of it by then, many times its arithmetic (benchmarks/README.md).
    """

    def __init__(self, batches: Batches) -> None:
        """Compile nothing yet."""
        self._batches = batches
        self._eager = InParts(replace(batches, lift=replace(batches.lift, engine="eager")))
        self._made: dict[Form, Fixed | None] = {}  # None where it can't be compiled
        self._drawn: Drawn | None = None  # of the batch before, all of whose forms are one
        self._step: Fixed | None = None
        self._rate, self._rate_given = torch.zeros((), dtype=torch.float64), 0.0

    def __call__(self, step: int, batch: Batch, mover: Mover, ring: Ring) -> Seen:
        """Compute where these tasks would move theta; nothing moves yet."""
        if step == 0:  # torch's own step begins the optimiser's state
            return self._eager(step, batch, mover, ring)
        rate, held = mover.rate, mover.held
        if rate != self._rate_given:
            self._rate, self._rate_given = torch.tensor(rate, dtype=torch.float64), rate
        if batch.drawn is not self._drawn:
            self._drawn, self._step = batch.drawn, self._fitting(batch, mover)
        if self._step is None:
            return self._eager(step, batch, mover, ring)
        told, *moved = self._step.run((*held, self._rate, *batch.rows))
        loss, norm, clipped = told.tolist()
        ring.keep(step, held[0])

        def move() -> tuple[float, float]:
            mover.put(moved)
            return rate, clipped

        return loss, norm, move

    def _fitting(self, batch: Batch, mover: Mover) -> Fixed | None:
        """Give the function for batches of this form, compiled at the first of them."""
        form = batch.drawn.form
        if form not in self._made:
            whole = whole_step(self._batches, mover.slots, form)
            args = mover.held, self._rate, batch.rows
            self._made[form] = fixed(whole, self._batches.lift.engine, args)
        return self._made[form]


def whole_step(
    batches: Batches, names: tuple[str, ...], form: Form
) -> Callable[[Held, Tensor, Rows], tuple[Tensor, ...]]:
    """Make `(theta and state, outer rate, batch) -> ([loss, |g|, clipped], theta and state)`, flat.

    Torch's optimiser steps at the rate of `outer`, and theta goes the share of that way which the
    rate of this step is of it: the move of each optimiser is proportional to its rate, which a
    schedule may thus change without compiling anew.
    """
    means = batches.means()
    outer = replace(batches.outer, rate=batches.outer.rate or 1.0)

    def step(held: Held, rate: Tensor, rows: Rows) -> tuple[Tensor, ...]:
        before, *slots = held
        theta = before.clone()
        theta.grad, told, _ = means(before, form.tasks(rows))
        optimiser = outer.optimiser(theta, differentiable=True)
        # a count of steps as float64, in which Adam's biases are then corrected
        state: dict[str, Any] = {
            name: slot.clone() if slot.dim() else slot.double()
            for name, slot in zip(names, slots, strict=True)
        }
        optimiser.state[theta] = state
        with torch.no_grad():
            bare_step(optimiser)
        after = [state[name].to(slot.dtype) for name, slot in zip(names, slots, strict=True)]
        return told, before + rate / outer.rate * (theta - before), *after

    return step
