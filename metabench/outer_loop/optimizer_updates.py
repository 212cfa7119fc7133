"""Updates that torch's optimizers compute from given gradients at one theta."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metabench.outer_loop.optimizer_settings import OuterOptimizer


def updates(name: str, gradients: NDArray[np.floating], warm: int) -> NDArray[np.float64]:
    """Compute the updates `(n - warm, q)`, divided by the rate, for gradients at one theta.

    The first `warm` gradients, in turn, build up the optimizer's state (momentum, mean squares);
    each of the others is then applied to that same state. Optimizers and defaults are those of
    `OuterOptimizer`, without weight decay. All of them are elementwise, so that parts of a vector
    can be computed separately.

    Args:
        name: of the optimizer.
        gradients: `(n, q)`.
        warm: gradients that only build up the state.
    """
    # contiguous: torch 2.13's fused steps read a CPU gradient as if it were, whatever its strides
    given = torch.from_numpy(np.ascontiguousarray(gradients, np.float64))
    at = torch.zeros_like(given[0])
    optimizer = OuterOptimizer(name, rate=1.0).build(at)
    for gradient in given[:warm]:
        at.grad = gradient
        optimizer.step()
    state = optimizer.state[at]
    many = torch.zeros_like(given[warm:])
    one = OuterOptimizer(name, rate=1.0).build(many)
    one.state[many] = {key: _repeated(slot, at, len(many)) for key, slot in state.items()}
    many.grad = given[warm:]
    one.step()
    return -many.numpy()


def _repeated(slot: object, at: Tensor, count: int) -> object:
    """Repeat a slot of the parameter's shape `count` times; other slots are copied unchanged."""
    if not isinstance(slot, Tensor):
        return slot
    return slot.expand(count, *at.shape).clone() if slot.shape == at.shape else slot.clone()
