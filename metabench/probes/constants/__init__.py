"""Does MAML's convergence theory cover this setting, and how loose are its bounds?

The theory is that of (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400), for one
inner step and independent sets for the inner gradient, the Hessian and the query gradient. A widely
read summary (Ashtekar, "Model-Agnostic Meta-Learning: Theory Explained") gives its moment bounds
and its iteration bound without their assumptions, as if they held for any run:

- The inner rate is at most 1 / (6 L), and the Hessian is taken on D_h >= 2 alpha^2 sigma_H^2
  examples that are independent of those of the inner step. Ordinary MAML violates this: its Hessian
  and its inner gradient are taken on the same examples.
- sigma^2 is the variance of the tasks' gradients around that of f = E f_i, the loss *before*
  adaptation. The summary doesn't define f; its "global objective" is F.
- The objective is an expectation over tasks, as its gradient is in the summary; the summary's
  first equation writes a sum.
- T steps reach |grad F| <= epsilon only with batches of order epsilon^-2. With fixed batches,
  |grad F|^2 has a floor of order sigma^2 / B + sigma~^2 / (B D_o) + sigma~^2 / D_in, whose last
  term no number of tasks removes. The summary's last section bounds the decrease of the expected
  loss without that floor. The paper states its iteration bound to order; 1600 is the summary's.

The constants 2 and 0.08 of the first moment follow from this derivation: with alpha L <= 1/6, the
inner noise changes a meta-gradient by at most (1 + alpha L) alpha L sigma~ / sqrt(D_in), which is
7/36 of sigma~ / sqrt(D_in), and 2 (7/36)^2 = 0.076.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.probes.constants.meanings import MEANINGS
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Constants(Probe):
    """Compare MAML's convergence theory with measurements at theta.

    Measured are the constants L, rho, sigma, sigma~ and sigma_H, and the quantities that the theory
    bounds: both moments of the meta-gradient, the smoothness of the meta-objective and the number
    of outer steps. For many inner steps the theory's condition is alpha ~ 1 / (K L) (Ji, Yang &
    Liang, 2022, https://arxiv.org/abs/2002.07836). The theory's constants are suprema over all
    theta, so the measured L and rho are lower bounds.
    (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400).

    `measure` gives the rows and `find` reads them, as here from a row made by hand:

    >>> import metabench as mb
    >>> table = mb.to_table([mb.Row("assumption", of="K = 1", value=5.0, status="violated")])
    >>> print(mb.Constants(tasks=64).find(table)[0].claim)
    The convergence theory doesn't cover this setting. Violated assumptions: K = 1 (here 5).
    """

    tasks: int = 256  # tasks from which moments and variances are estimated [tasks]
    redrawn_tasks: int = 8  # support and query sets per task, an even number >= 4 [sets]
    hessians: int = 32  # maximum number of tasks whose Hessians are measured [tasks]
    batch: int = 25  # your task batch B, for the floor of |grad F|^2 [tasks]
    precision: float = 0.5  # epsilon of the iteration bound, as a share of |grad F| at theta [1]
    floor: float = 0.0  # a lower bound of the expected outer loss, for the iteration bound [loss]
    run: int = 100  # maximum outer steps to take at the theory's rate; 0: none [steps]
    budget: float = 3e10  # limit for moments, and for Hessians; beyond: fewer tasks [operations]

    version: ClassVar[int] = 3
    headline: ClassVar[tuple[str, ...]] = (
        *("gradient_lipschitz", "hessian_lipschitz", "kink", "rate, own"),
        *("gradient_variance, tasks", "gradient_variance, one support set"),
        *("slack, first moment @ first", "slack, second moment @ first", "support_share"),
    )
    axis: ClassVar[str] = "inner rate"
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    shown: ClassVar[tuple[str, ...]] = ("slack",)
    table_by_quantity: ClassVar[bool] = True
    has_default_tasks: ClassVar[bool] = True
    intervals: ClassVar[str] = (
        "L and rho are the largest values over the measured tasks and points: lower bounds of the "
        "theory's suprema, marked `at least`, without an interval. Variances, means and their "
        "ratios over tasks have 95 % jackknife intervals, squared norms of means score intervals, "
        "ratios to them Fieller's."
    )
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 48, "redrawn_tasks": 4, "hessians": 8, "run": 0},
        {"tasks": 128, "redrawn_tasks": 4, "hessians": 16, "run": 20},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "not_finite_input": "growth",
        "zero": "gradient",
        "inner_rate": "rate",
        "first_moment": "settings",
        "second_moment": "settings",
    }
    question: ClassVar[str] = "Does MAML's convergence theory cover this setting, and how tightly?"
    caption: ClassVar[str] = (
        "Ratio of each bound of the theory to the measured value, with its 95 % interval. At 1 a "
        "bound is tight; right of 1 it is loose. Gray points are at the largest inner rate that "
        "the theory covers, where yours is larger."
    )

    def __post_init__(self) -> None:
        """Validate numbers of tasks, sets and steps, the precision and the floor."""
        for name, least in (("tasks", 1), ("hessians", 1), ("batch", 1), ("run", 0)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if self.redrawn_tasks < 4 or self.redrawn_tasks % 2:
            raise InvalidInput(
                f"redrawn_tasks is {self.redrawn_tasks}; give an even number of sets, 4 or more."
            )
        if not 0 < self.precision < 1:
            raise InvalidInput(f"precision is {self.precision}; it must lie between 0 and 1.")
        if not -math.inf < self.floor < math.inf:
            raise InvalidInput(f"floor is {self.floor}; it must be finite.")
