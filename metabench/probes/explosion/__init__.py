"""Does the meta-gradient explode or vanish with more inner steps, and at which step?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.probes.explosion.meanings import MEANINGS
from metabench.settings.errors import InvalidInput

DEFAULT_K = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Explosion(Probe):
    """Growth of the exact meta-gradient with K, and its causes.

    Each task is unrolled once, and the backward passes from all K share its Hessians. Norms are
    quantiles over tasks with order-statistic intervals. Growth is the change of log |g(K)| per
    inner step, fitted to each task separately.
    (Metz, Freeman, Schoenholz & Kachman, 2021, https://arxiv.org/abs/2111.05803).

    Examples:
        On a quadratic with curvature 1, a rate of 3 scales the gradient by |1 - 3| per step:

        >>> import metabench as mb
        >>> family = mb.Quadratic(dim=2, condition=1.0, jitter=0.0)
        >>> maml = mb.MAML(1, mb.SGD(3.0))
        >>> subject = mb.Subject(family.problem(), family.sample, maml, family.theta(0))
        >>> probe = mb.Explosion(steps=3, tasks=8, directions=0, mitigated=0, precision=False)
        >>> rows = probe.measure(subject, seed=0)
        >>> [round(row.value, 3) for row in rows if row.quantity == "amplification_by_step"]
        [2.0, 4.0, 8.0]
    """

    steps: int = 200  # largest K to measure; algo.steps if that is larger [steps]
    tasks: int = 128  # tasks to unroll; as many more are held out [tasks]
    at: tuple[int, ...] = ()  # values of K and algo.steps; empty: 0, 1, 2, 5, .. steps [steps]
    directions: int = 3  # leading Lyapunov exponents to compute; 0: none [exponents]
    rounds: int = 2  # passes of the iteration for these exponents, 1 or more [rounds]
    mitigated: int = 50  # K at which mitigations are tried, up to steps; 0: none [steps]
    precision: bool = True  # unroll in the other of float32 and float64, too

    version: ClassVar[int] = 5
    axis: ClassVar[str] = "K"
    axes: ClassVar[Mapping[str, str]] = {
        "adjoint": "k",
        "past_edge": "inner rate",
        "query_loss/rate": "inner rate",
        "support_loss/rate": "inner rate",
        "unstable": "inner rate",
    }
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    shown: ClassVar[tuple[str, ...]] = ("norm", "norm_low", "norm_high", "query_gradient")
    headline: ClassVar[tuple[str, ...]] = (
        *("growth", "growing_share", "norm @ first", "norm @ last"),
        *("amplification_by_step @ last", "float32_error @ last", "exponent, 1"),
        *("stable_rate, 50 % of tasks", "stable_rate, 95 % of tasks"),
    )
    table_quantities: ClassVar[Mapping[str, str]] = {
        "growth": "",
        "stable_rate, 50 % of tasks": "high",
        "stable_rate, 95 % of tasks": "high",
    }
    x_axis_quantities: ClassVar[tuple[str, ...]] = (
        "norm",
        "amplification_by_step",
        "query_loss",
        "float32_error",
    )
    has_default_tasks: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"steps": 20, "tasks": 48, "directions": 0, "mitigated": 0},
        {"steps": 50, "tasks": 100, "directions": 1, "mitigated": 20},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "not_finite_input": "growth",
        "explodes": "growth",
        "vanishes": "growth",
        "inner_rate_unstable": "rate",
        "negative_curvature": "curvature",
        "precision": "precision",
    }
    question: ClassVar[str] = "Does the meta-gradient explode or vanish with more inner steps?"
    caption: ClassVar[str] = (
        "Norm of one task's exact meta-gradient after K inner steps: median over tasks with its "
        "95 % interval, and the range from the 5 % to the 95 % quantile. The dashed line is the "
        "query gradient at phi_K: where the median lies above it, backpropagation through the "
        "inner loop amplifies the gradient; where it lies below, the gradient shrinks. A line that "
        "ends early has diverged."
    )

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name, least in (("steps", 0), ("tasks", 1), ("directions", 0), ("rounds", 1),
                            ("mitigated", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if self.at and not (min(self.at) >= 0 and max(self.at) <= self.steps):
            raise InvalidInput(
                f"at is {list(self.at)}; give values of K from 0 to steps = {self.steps}."
            )

    @property
    def plan(self) -> tuple[int, ...]:
        """The values of K, ascending."""
        values = self.at or (*(K for K in DEFAULT_K if self.steps > K), self.steps)
        return tuple(sorted(set(values)))
