"""A log of all operations in one task's meta-gradient: phase, inner step, layer, largest entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.adapt import RECOMPUTE_EACH
from metabench.algorithms.base import Estimator
from metabench.autodiff.operation_watch import OperationWatch
from metabench.problems.parameter_layout import Layout
from metabench.problems.problem import Problem
from metabench.problems.tasks import Data, Loss, Task

# Operations whose result is unwritten memory or a constant, such as the -inf of a mask.
CONSTANT = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "full",
            "new_full", "full_like", "scalar_tensor")  # fmt: skip


class Operation(NamedTuple):
    """One operation that ran."""

    phase: str  # inner loss, inner gradient and step, query loss and its gradient, adjoint
    step: int  # inner step, -1 outside the inner loop
    layer: str  # the layer whose parameters were used last, "" before any
    name: str  # in torch, such as exp or addmm
    largest: float  # largest |entry|; infinite or NaN if an entry is


def operations(
    problem: Problem, algorithm: Estimator, theta: Tensor, task: Task
) -> list[Operation]:
    """Compute one task's meta-gradient and list the operations that ran, in order.

    The graphs of inner steps are recomputed in the backward pass, so that each operation of the
    adjoint belongs to a known inner step.

    Args:
        problem: of the task.
        algorithm: whose meta-gradient is computed.
        theta: `(Q,)`.
        task: one, without a leading axis.
    """
    if "rematerialize" in {field.name for field in dataclasses.fields(algorithm)}:  # type: ignore[arg-type]
        algorithm = dataclasses.replace(algorithm, rematerialize=RECOMPUTE_EACH)  # type: ignore[type-var]
    log = _OperationLog(problem.layouts.phi)
    logged = problem._replace(
        inner_loss=log.inner(problem.inner_loss), outer_loss=log.outer(problem.outer_loss)
    )
    with OperationWatch(log.record):
        algorithm(logged, theta, task)
    return log.found


class _OperationLog:
    """Lists operations, with the loss and inner step during which they ran."""

    def __init__(self, layout: Layout) -> None:
        self.found: list[Operation] = []
        self._layout = layout
        self._layer = layout.names[0] if len(layout.names) == 1 else ""
        self._places: dict[int, str] = {}
        self._phase, self._step = "initialization", -1
        self._calls, self._last = 0, -1  # of the inner loss; the last inner step

    def inner(self, loss: Loss) -> Loss:
        """Return the inner loss, which sets phase and step: 0 .. K - 1 forward, then back to 0."""

        def logged(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            back = self._last >= 0
            self._step = max(self._last - self._calls, 0) if back else self._calls
            self._calls += 1
            self._phase = "adjoint" if back else "inner loss"
            value = loss(phi, theta, data)
            self._phase = "adjoint" if back else "inner gradient and step"
            return value

        return logged

    def outer(self, loss: Loss) -> Loss:
        """Return the outer loss, which marks the end of the inner loop."""

        def logged(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            self._last, self._calls = max(self._calls - 1, 0), 0
            self._phase, self._step = "query loss and its gradient", -1
            return loss(phi, theta, data)

        return logged

    def record(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        name = operation.overloadpacket.__name__
        self._track_layer(name, args, result)
        floats = [t for t in tree_leaves(result) if isinstance(t, Tensor) and t.is_floating_point()]
        if floats and name not in CONSTANT:
            largest = max((_largest(t) for t in floats), key=_rank)
            self.found.append(Operation(self._phase, self._step, self._layer, name, largest))

    def _track_layer(self, name: str, args: Sequence[Any], out: Any) -> None:
        """Record where each layer's parameters are in memory, and which were used last."""
        pieces = out if isinstance(out, list | tuple) else []
        sizes = tuple(piece.numel() for piece in pieces if isinstance(piece, Tensor))
        if name.startswith("split") and sizes == self._layout.sizes:
            named = zip(pieces, self._layout.names, strict=True)
            self._places = {piece.data_ptr(): layer for piece, layer in named if piece.numel()}
            return
        for leaf in tree_leaves(args):
            if isinstance(leaf, Tensor) and leaf.data_ptr() in self._places:
                self._layer = self._places[leaf.data_ptr()]


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _rank(value: float) -> float:
    return value if value == value else torch.inf
