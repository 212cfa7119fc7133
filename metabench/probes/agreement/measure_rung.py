"""Runs of every method at one K, and the rows that compare them."""

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
    """The meta-gradients of one method at one K, in one precision."""

    grads: Vector  # (T, Q)
    notes: dict[str, Vector]  # such as "curvature" and "residual", (T,) each


class RunsAtK(NamedTuple):
    """The runs of every method at one K, by name, in two precisions."""

    K: int
    double: dict[str, Run]  # in float64
    exact: Run  # the implicit gradient by the exact solver, in float64
    single: dict[str, Run]  # in float32
    native: dict[str, Run]  # in theta's precision

    @classmethod
    def from_methods(
        cls,
        K: int,
        methods: dict[str, MethodRun],
        exact: MethodRun,
        run: Callable[[MethodRun, torch.dtype], Run],
    ) -> RunsAtK:
        """Run every method in float64 and float32.

        Args:
            K: inner steps.
            methods: the methods with K inner steps, by name.
            exact: implicit differentiation by the exact solver.
            run: runs a method in a precision.
        """
        double = {name: run(method, torch.float64) for name, method in methods.items()}
        by_exact_solver = run(exact, torch.float64)
        single = {name: run(method, torch.float32) for name, method in methods.items()}
        is_single = exact.subject.theta.dtype == torch.float32
        return cls(K, double, by_exact_solver, single, single if is_single else double)

    @property
    def implicit(self) -> set[str]:
        """The methods that solve a linear system."""
        return {name for name, run in self.double.items() if "residual" in run.notes}

    @property
    def with_poles(self) -> set[str]:
        """The methods whose expectation may not exist, because they invert indefinite Hessians."""
        return self.implicit if compare.any_negative_curvature(self.exact.notes) else set()

    def rows(self, at_minimum: Vector, no_minimum: bool) -> list[Row]:
        """Compare every method with the gradient at the inner minimum, and with the unroll.

        Args:
            at_minimum: the meta-gradients at the minimum, `(T, Q)`.
            no_minimum: the inner objective has no minimum in some tasks.

        Returns:
            The rows of this K.
        """
        rows = compare.curvature_rows(self.exact.notes, self.K)
        unrolled, implicit = self.double[UNROLLED].grads, self.implicit
        for name, native in self.native.items():
            rows += compare.diverged_rows(native.grads, self.K, name)
            has_poles = name in self.with_poles
            rows += compare.comparison_rows(
                native.grads, at_minimum, self.K, name, "", no_minimum or has_poles
            )
            rows += compare.comparison_rows(
                native.grads, unrolled, self.K, name, "_unrolled", has_poles
            )
            runs = (at_minimum, self.exact.grads, self.double[name].grads, self.single[name].grads)
            rows += compare.error_parts(*runs, self.K, name, name in implicit)
            rows += compare.residual_rows(native.notes, self.K, name)
        return rows

    def layer_rows(self, segments: dict[str, slice]) -> list[Row]:
        """Compare every method with the unroll, layer by layer of theta."""
        rows, unrolled, with_poles = [], self.double[UNROLLED].grads, self.with_poles
        for name, native in self.native.items():
            rows += compare.layer_rows(native.grads, unrolled, name, segments, name in with_poles)
        return rows

    def bfloat16_rows(self, half: dict[str, Vector]) -> list[Row]:
        """Compare bfloat16 meta-gradients with those in float64."""
        return compare.bfloat16_rows(half, {name: self.double[name].grads for name in half}, self.K)
