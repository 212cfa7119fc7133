"""Does the convergence theory of MAML cover this setting, and how far are its bounds from what is?

The theory is that of (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400), for one
inner step and independent sets for the inner gradient, the Hessian and the query gradient. A widely
read summary (Ashtekar, "Model-Agnostic Meta-Learning: Theory Explained") gives its moment bounds
and its iteration bound, and leaves out what they need, so that they read as if they held of any
run:

- an inner rate of at most 1 / (6 L), and a Hessian from D_h >= 2 alpha^2 sigma_H^2 examples that
  are independent of those of the inner step. Ordinary MAML differentiates the step that it took, so
  that its Hessian's examples are those of the inner gradient, outside the lemma;
- sigma^2 is the spread of the tasks' gradients around that of f = E f_i, the loss *before*
  adaptation, which the summary doesn't define beside its "global objective" F;
- the objective is an expectation over tasks, as its gradient is in the summary too; the summary's
  first equation writes a sum;
- T steps reach |grad F| <= epsilon only with batches of order epsilon^-2. With given batches there
  is a floor of order sigma^2 / B + sigma~^2 / (B D_o) + sigma~^2 / D_in in |grad F|^2, whose last
  term no number of tasks removes. The summary's last section has the descent of the expected loss
  without that floor. The paper states its iteration bound to order; 1600 is the summary's figure.

Constants 2 and 0.08 of the first moment are checked here by a derivation of one's own: with
alpha L <= 1/6 the inner noise moves a meta-gradient by (1 + alpha L) alpha L sigma~ / sqrt(D_in)
at most, 7/36 of sigma~ / sqrt(D_in), and 2 (7/36)^2 = 0.076.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Constants(Probe):
    """The constants of MAML's convergence theory here, its bounds, and what they bound.

    L, rho, sigma, sigma~ and sigma_H at theta; both moment bounds, the smoothness of the
    meta-objective and the iteration bound, each beside what is measured; the condition
    alpha ~ 1 / (K L) of many steps (Ji, Yang & Liang, 2022, https://arxiv.org/abs/2002.07836).
    The theory's constants are suprema, so L and rho are lower bounds.
    (Fallah, Mokhtari & Ozdaglar, 2020, https://arxiv.org/abs/1908.10400).
    """

    tasks: int = 256  # fresh tasks that moments and variances are estimated from [tasks]
    redrawn_tasks: int = 8  # support and query sets of each, 4 or more and even [sets]
    hessians: int = 32  # most tasks whose Hessians are looked at [tasks]
    batch: int = 25  # the B you train with, for the predicted floor [tasks]
    precision: float = 0.5  # epsilon of the iteration bound, as a share of |grad F| here [1]
    floor: float = 0.0  # a lower bound of the expected outer loss, for the iteration bound [loss]
    run: int = 100  # most outer steps walked at the theory's rate; 0: none [steps]
    budget: float = 3e10  # of moments, and of Hessians: beyond it, fewer tasks [operations]

    version: ClassVar[int] = 3
    axis: ClassVar[str] = "inner rate"
    shown: ClassVar[tuple[str, ...]] = ("slack",)
    table_by_quantity: ClassVar[bool] = True
    has_default_tasks: ClassVar[bool] = True
    intervals: ClassVar[str] = (
        "L and rho are the largest found over tasks and points, which the theory's suprema exceed: "
        "`at least`, without an interval. Variances, means and their ratios over tasks have 95 % "
        "jackknife intervals, squared norms of means score intervals, ratios to them Fieller's."
    )
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 48, "redrawn_tasks": 4, "hessians": 8, "run": 0},
        {"tasks": 128, "redrawn_tasks": 4, "hessians": 16, "run": 20},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "zero": "gradient",
        "many_steps": "rate",
        "first_moment": "settings",
        "second_moment": "settings",
    }
    question: ClassVar[str] = "Does the convergence theory cover this setting, and how closely?"
    caption: ClassVar[str] = (
        "Each bound of the theory over what is measured, with its 95 % interval: 1 is a tight "
        "bound, the right of 1 is slack. Gray: at the largest inner rate that the theory covers, "
        "where yours is larger."
    )

    def __post_init__(self) -> None:
        """Refuse samples from which nothing follows."""
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
