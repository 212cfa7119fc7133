"""Does the meta-gradient explode or vanish as the inner loop gets longer, and where on its way?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput

LADDER = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True)
class Explosion(Probe):
    """Norm of the exact meta-gradient over K inner steps, its growth, where it grows, and why.

    One path a task; the reverse sweeps from all K share its Hessians. Quantiles over tasks with
    order-statistic intervals; growth is the slope of log |g(K)| on K of each task, never pooled.
    (Metz, Freeman, Schoenholz & Kachman, 2021, https://arxiv.org/abs/2111.05803).
    """

    steps: int = 200  # largest K that is looked at, unless one's own is larger [steps]
    tasks: int = 128  # tasks whose paths are walked, and as many held out [tasks]
    at: tuple[int, ...] = ()  # values of K, and one's own; empty: 0, 1, 2, 5, 10, .. steps [steps]
    directions: int = 3  # leading Lyapunov exponents, 0 for none [exponents]
    rounds: int = 2  # ways back and forth that settle them, 1 or more [rounds]
    mitigated: int = 50  # K at which mitigations are tried, at most steps; 0: none [steps]
    precision: bool = True  # walk the paths in the other precision as well: float32 or float64

    version: ClassVar[int] = 4
    axis: ClassVar[str] = "K"
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
        "explodes": "growth",
        "vanishes": "growth",
        "past_edge": "rate",
        "negative_curvature": "curvature",
        "precision": "precision",
    }
    question: ClassVar[str] = "Does the meta-gradient explode or vanish with more inner steps?"
    caption: ClassVar[str] = (
        "Norm of one task's exact meta-gradient after K inner steps: median over tasks with its "
        "95 % interval, and the range from the 5 % to the 95 % quantile. The dashed line is the "
        "query gradient at phi_K, where the sweep back begins: above it the way back amplifies, "
        "below it the gradient fades. A line that ends early has diverged."
    )

    def __post_init__(self) -> None:
        """Refuse to walk nowhere."""
        for name, least in (("steps", 0), ("tasks", 1), ("directions", 0), ("rounds", 1),
                            ("mitigated", 0)):  # fmt: skip
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if self.at and not (min(self.at) >= 0 and max(self.at) <= self.steps):
            raise InvalidInput(f"at holds K from 0 to steps = {self.steps}; given {list(self.at)}.")

    @property
    def plan(self) -> tuple[int, ...]:
        """The values of K, ascending."""
        ladder = self.at or (*(K for K in LADDER if self.steps > K), self.steps)
        return tuple(sorted(set(ladder)))
