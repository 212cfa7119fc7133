"""Every method at one K: what its meta-gradients are off by, and of what that is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

from metabench.probes.agreement import compare
from metabench.probes.agreement.method_runs import MethodRun
from metabench.probes.agreement.methods import UNROLLED
from metabench.records.rows import Row
from metabench.stats.intervals import Vector


class Run(NamedTuple):
    """One method at one K."""

    grads: Vector  # (T, Q)
    notes: dict[str, Vector]


class Rung(NamedTuple):
    """The runs of every method at one K, in two precisions."""

    K: int
    double: dict[str, Run]
    exact: Run  # an implicit gradient by a dense solve, in float64
    rough: dict[str, Run]  # in float32
    own: dict[str, Run]  # in theta's precision

    @classmethod
    def of(
        cls,
        K: int,
        looks: dict[str, MethodRun],
        dense: MethodRun,
        run: Callable[[MethodRun, torch.dtype], Run],
    ) -> Rung:
        """Run every method."""
        double = {name: run(look, torch.float64) for name, look in looks.items()}
        exact = run(dense, torch.float64)
        rough = {name: run(look, torch.float32) for name, look in looks.items()}
        single = dense.subject.theta.dtype == torch.float32
        return cls(K, double, exact, rough, rough if single else double)

    @property
    def implicit(self) -> set[str]:
        """The methods that solve a linear system."""
        return {name for name, run in self.double.items() if "residual" in run.notes}

    @property
    def poles(self) -> set[str]:
        """The methods whose expectation may not exist, for a Hessian of theirs curves down."""
        return self.implicit if compare.curves_down(self.exact.notes) else set()

    def rows(self, best: Vector, nowhere: bool) -> list[Row]:
        """Compare every method with the gradient at the inner minimum, and with the unroll.

        Args:
            best: the meta-gradients at the minimum, `(T, Q)`.
            nowhere: the inner objective has no minimum in some tasks.

        Returns:
            The rows of this K.
        """
        rows = compare.convexity(self.exact.notes, self.K)
        unrolled, poles, implicit = self.double[UNROLLED].grads, self.poles, self.implicit
        for name, own in self.own.items():
            none = name in poles
            rows += compare.against(own.grads, best, self.K, name, "", nowhere or none)
            rows += compare.against(own.grads, unrolled, self.K, name, "_unrolled", none)
            parts = (best, self.exact.grads, self.double[name].grads, self.rough[name].grads)
            rows += compare.parts(*parts, self.K, name, name in implicit)
            rows += compare.residual(own.notes, self.K, name)
        return rows

    def layers(self, segments: dict[str, slice]) -> list[Row]:
        """Compare every method with the unroll, layer by layer of theta."""
        rows, unrolled, poles = [], self.double[UNROLLED].grads, self.poles
        for name, own in self.own.items():
            rows += compare.layers(own.grads, unrolled, name, segments, name in poles)
        return rows

    def halves(self, half: dict[str, Vector]) -> list[Row]:
        """Compare what bfloat16 gives with float64."""
        return compare.halves(half, {name: self.double[name].grads for name in half}, self.K)
