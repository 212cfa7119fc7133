"""How curved are the inner and outer losses, and are the inner and outer rates stable?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.probes.spectrum.meanings import MEANINGS
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Spectrum(Probe):
    """Eigenvalues of inner Hessians, and which rates are stable.

    Gradient descent with rate alpha grows along an eigenvector whose eigenvalue is above 2 / alpha
    (momentum mu: 2 (1 + mu) / alpha) or below zero. Extreme eigenvalues are found by Lanczos with
    residual bounds, from two start vectors that must agree; densities by stochastic Lanczos
    quadrature. (Ghorbani, Krishnan & Xiao, 2019, https://arxiv.org/abs/1901.10159).

    >>> import metabench as mb
    >>> bowls = mb.Quadratic(dim=2, jitter=0.0)  # every Hessian has eigenvalues 1 and 0.1
    >>> subject = mb.Subject(bowls.problem(), bowls.sample, mb.MAML(steps=1), bowls.theta(seed=0))
    >>> rows = mb.Spectrum(tasks=2, nodes=2, vectors=2, meta=0).measure(subject, seed=0)
    >>> [round(r.value, 6) for r in rows if r.quantity == "stable_rate" and r.of == "start"]
    [2.0, 2.0, 2.0]
    """

    tasks: int = 128  # tasks whose spectra are measured [tasks]
    tolerance: float = 1e-2  # residual of extreme eigenvalues over the larger in size [1]
    steps: int = 100  # maximum Hessian products per task and start vector [products]
    nodes: int = 40  # minimum number of quadrature nodes of a density [products]
    vectors: int = 8  # random vectors per task, for its trace [vectors]
    exact: int = 128  # parameters up to which all eigenvalues are computed exactly [parameters]
    meta: int = 96  # most tasks for the meta-Hessian and d phi_K / d theta; 0: none [tasks]
    outer_rate: float = 0.0  # your rate of plain outer descent, to judge; 0: none [1/curvature]
    layers: int = 12  # most layers whose Hessian block is measured; 0: none [layers]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "share of tasks"
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    shown: ClassVar[tuple[str, ...]] = (
        "largest_over_tasks",
        "smallest_over_tasks",
        "past_edge",
        "negative_curvature",
    )
    table_by_quantity: ClassVar[bool] = True
    figure_only: ClassVar[frozenset[str]] = frozenset(
        {"largest_over_tasks", "smallest_over_tasks", "cumulative_density", "cg_residual"}
    )
    headline: ClassVar[tuple[str, ...]] = (
        *("largest_eigenvalue, start @ 0.5", "smallest_eigenvalue, start @ 0.5"),
        *("largest_eigenvalue, adapted @ 0.5", "stable_rate, start @ 0.95"),
        *("past_edge, start", "past_edge, adapted", "negative_mass, start"),
        *("effective_rank, start", "largest_eigenvalue, meta", "stable_outer_rate"),
    )
    table_quantities: ClassVar[Mapping[str, str]] = {
        "past_edge, start": "low",
        "past_edge, adapted": "low",
        "negative_mass, start": "",
        "effective_rank, start": "",
        "stable_outer_rate": "high",
    }
    intervals: ClassVar[str] = (
        "Quantiles over tasks have intervals between order statistics, which hold for any "
        "distribution; shares have exact binomial limits, means Student's t, ratios of means a "
        "jackknife of their logarithm. The upper end of a largest eigenvalue adds its residual "
        "bound. The band of a density covers the interval over tasks and start vectors and the "
        "error of the quadrature."
    )
    has_default_tasks: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 32, "tolerance": 3e-2, "nodes": 12, "vectors": 2, "meta": 16, "layers": 0},
        {"tasks": 64, "nodes": 24, "vectors": 4, "meta": 48, "layers": 6},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "not_finite_input": "growth",
        "adaptation_jacobian": "growth",
        "inner_rate_unstable": "rate",
        "indefinite": "curvature",
        "negative_curvature": "curvature",
        "unsolved": "solver",
        "not_converged": "settings",
        "outer_rate_unstable": "outer",
    }
    question: ClassVar[str] = "How curved are the inner losses, and is the inner rate too large?"
    caption: ClassVar[str] = (
        "Quantiles over tasks of the largest and the smallest eigenvalue of the inner Hessian, "
        "with 95 % intervals: 30 % of tasks lie below the value drawn at 0.3. Where the largest is "
        "above the dotted line (edge of stability / inner rate), steps overshoot and grow. Where "
        "the smallest is below zero, steps also grow, but slowly."
    )

    def __post_init__(self) -> None:
        """Validate numbers of tasks, steps and vectors, the tolerance and the outer rate."""
        if self.tasks < 1:
            raise InvalidInput(f"tasks is {self.tasks}; it must be at least 1.")
        if not 0 < self.tolerance < 1:
            raise InvalidInput(f"tolerance is {self.tolerance}; it must lie between 0 and 1.")
        for name in ("steps", "nodes", "vectors"):
            if getattr(self, name) < 2:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 2.")
        for name in ("exact", "layers", "meta", "outer_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 0 or more.")
