"""How curved are the inner and outer losses, and are the rates past what that curvature allows?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Spectrum(Probe):
    """Eigenvalues of every task's inner Hessian, where adaptation starts and where it ends.

    Gradient descent with rate alpha grows along an eigenvector whose eigenvalue is above 2 / alpha
    (momentum mu: 2 (1 + mu) / alpha) or below zero. Ends of the spectrum by Lanczos with residual
    bounds, from two starts that must agree; densities by stochastic Lanczos quadrature.
    (Ghorbani, Krishnan & Xiao, 2019, https://arxiv.org/abs/1901.10159).
    """

    tasks: int = 128  # fresh tasks whose spectra are taken [tasks]
    tolerance: float = 1e-2  # residual bound of extreme eigenvalues, relative to the larger [1]
    steps: int = 100  # most Hessian products from one start vector of a task [products]
    nodes: int = 40  # fewest quadrature nodes of a density [products]
    vectors: int = 8  # random vectors of a task's trace [vectors]
    exact: int = 128  # parameters up to which all eigenvalues are taken, exactly [parameters]
    meta: int = 96  # most tasks of expected Hessians and of the adaptation map; 0: none [tasks]
    outer_rate: float = 0.0  # beta of plain outer descent, if you want it judged [1/curvature]
    layers: int = 12  # most layers with a spectrum of their own, the largest; 0: none [layers]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "share of tasks"
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
    table_quantities: ClassVar[Mapping[str, str]] = {
        "past_edge, start": "low",
        "past_edge, adapted": "low",
        "negative_mass, start": "",
        "effective_rank, start": "",
        "stable_outer_rate": "high",
    }
    intervals: ClassVar[str] = (
        "Quantiles over tasks lie between order statistics, which assumes nothing of their "
        "distribution; shares have exact binomial limits, means Student's t, ratios of means a "
        "jackknife of their logarithm. The upper end of a largest eigenvalue adds its residual "
        "bound. Densities have a band of the interval over tasks and start vectors and of what the "
        "quadrature leaves open."
    )
    has_default_tasks: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 32, "tolerance": 3e-2, "nodes": 12, "vectors": 2, "meta": 16, "layers": 0},
        {"tasks": 64, "nodes": 24, "vectors": 4, "meta": 48, "layers": 6},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "stretched": "growth",
        "past_edge": "rate",
        "indefinite": "curvature",
        "negative_curvature": "curvature",
        "unsolved": "solver",
        "not_converged": "settings",
        "past_outer_edge": "outer",
    }
    question: ClassVar[str] = "How curved are the inner losses, and is the inner rate too large?"
    caption: ClassVar[str] = (
        "The largest and the smallest eigenvalue of each task's inner Hessian: at 30 % of tasks "
        "stands the value that 30 % of tasks lie below, with its 95 % interval. Where the largest "
        "is above the dotted line, the step's edge over the inner rate, a step overshoots and "
        "grows; where the smallest is below zero it grows as well, slowly."
    )

    def __post_init__(self) -> None:
        """Refuse samples and budgets from which nothing follows."""
        if self.tasks < 1:
            raise InvalidInput(f"tasks is {self.tasks}; a spectrum takes at least 1 task.")
        if not 0 < self.tolerance < 1:
            raise InvalidInput(f"tolerance is {self.tolerance}; it must lie between 0 and 1.")
        for name in ("steps", "nodes", "vectors"):
            if getattr(self, name) < 2:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 2.")
        for name in ("exact", "layers", "meta", "outer_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be 0 or more.")
