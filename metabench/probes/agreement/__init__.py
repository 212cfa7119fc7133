"""How far apart are unrolled, implicit and first-order meta-gradients, and which is cheapest?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


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
    proximal_strength: float = -1.0  # lambda; -1: imaml's, else 2 [curvature]
    proximal_strengths: tuple[float, ...] = (4.0,)  # others, times lambda, at the largest K [1]
    solvers: tuple[str, ...] = ("cg",)  # of the implicit gradient; dense joins if small [names]
    budgets: tuple[int, ...] = (1, 5, 20)  # steps of each iterative solver [products]
    truncate: int = 5  # steps that truncation goes back, 0: leave it out [steps]
    minimum_steps: int = 300  # descent steps towards the inner minimum [steps]
    rounds: int = 3  # times each method is timed [calls]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "K"
    table_quantities: ClassVar[Mapping[str, str]] = {
        "minimum_found": "high",
        "gradient_norm_at_minimum": "low",
    }
    has_default_tasks: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 16, "at": (1,), "proximal_strengths": (), "budgets": (5,), "truncate": 0,
         "minimum_steps": 50, "rounds": 1},
        {"tasks": 16, "at": (1, 10), "proximal_strengths": (), "budgets": (1, 5),
         "minimum_steps": 100},
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
        for name, least in (("tasks", 1), ("truncate", 0), ("minimum_steps", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not self.at or min(self.at) < 0:
            raise InvalidInput(
                f"at is {list(self.at)}; give the inner steps to compare, 0 or more."
            )
        if not self.budgets or min(self.budgets) < 1:
            raise InvalidInput(f"budgets is {list(self.budgets)}; a solver takes at least 1 step.")
        if min(self.proximal_strengths, default=1) <= 0:
            raise InvalidInput(
                f"proximal_strengths is {list(self.proximal_strengths)}; give factors above 0."
            )
