"""How far apart are unrolled, implicit and first-order meta-gradients, and which is cheapest?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import Misuse


@dataclass(frozen=True)
class Agreement(Probe):
    """Meta-gradients of the same tasks and the same proximal inner problem, by every method.

    Two references: the gradient of the query loss at phi_K, which the unroll is by definition, and
    the gradient at the inner minimum, which implicit differentiation aims at. The error telescopes
    into inner convergence, solver and arithmetic.
    (Rajeswaran, Finn, Kakade & Levine, 2019, https://arxiv.org/abs/1909.04630), figure 2.
    """

    tasks: int = 32  # tasks that every method sees [tasks]
    at: tuple[int, ...] = (1, 2, 5, 10, 20, 40)  # values of K; one's own joins them [steps]
    strength: float = -1.0  # lambda, pull of the inner problem; -1: imaml's, else 2 [curvature]
    pulls: tuple[float, ...] = (4.0,)  # other pulls at the largest K, times lambda [1]
    solvers: tuple[str, ...] = ("cg",)  # of the implicit gradient; dense joins if small [names]
    budgets: tuple[int, ...] = (1, 5, 20)  # steps of each iterative solver [products]
    truncate: int = 5  # steps that truncation goes back, 0: leave it out [steps]
    settle: int = 300  # descent steps that look for the inner minimum [steps]
    rounds: int = 3  # times each method is timed [calls]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "K"
    compared: ClassVar[Mapping[str, str]] = {"minimum_found": "high", "slope_at_minimum": "low"}
    own_tasks: ClassVar[bool] = True
    rungs: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 16, "at": (1,), "pulls": (), "budgets": (5,), "truncate": 0, "settle": 50,
         "rounds": 1},
        {"tasks": 16, "at": (1, 10), "pulls": (), "budgets": (1, 5), "settle": 100},
    )  # fmt: skip
    causes: ClassVar[Mapping[str, str]] = {
        "saddles": "curvature",
        "minimum_not_found": "solver",
        "cause": "solver",
        "first_order": "estimator",
    }
    question: ClassVar[str] = "Which method gets how close to the gradient at the inner minimum?"
    caption: ClassVar[str] = (
        "Relative error of each method's meta-gradient against the gradient at the inner minimum "
        "(median over tasks), against the seconds it takes; along a line K grows. Lower left is "
        "better. A line that flattens has met another limit than inner convergence: the solver's "
        "budget, or what first order leaves out."
    )

    def __post_init__(self) -> None:
        """Refuse to compare nothing."""
        for name, least in (("tasks", 1), ("truncate", 0), ("settle", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise Misuse(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not self.at or min(self.at) < 0:
            raise Misuse(f"at is {list(self.at)}; give the inner steps to compare, 0 or more.")
        if not self.budgets or min(self.budgets) < 1:
            raise Misuse(f"budgets is {list(self.budgets)}; a solver takes at least 1 step.")
        if min(self.pulls, default=1) <= 0:
            raise Misuse(f"pulls is {list(self.pulls)}; give factors above 0.")
