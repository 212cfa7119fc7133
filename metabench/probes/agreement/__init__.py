"""How far do unrolled, implicit and first-order meta-gradients differ, and which is cheapest?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.agreement.meanings import MEANINGS
from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Agreement(Probe):
    """Error and cost of unrolled, implicit, first-order meta-gradients.

    Every method runs on the same proximal inner problem. Errors are relative to two references:
    the gradient of the query loss at phi_K, which the unroll computes exactly, and the implicit
    gradient at the inner minimum. The error to the latter is split into inner convergence, solver
    and arithmetic.
    (Rajeswaran, Finn, Kakade & Levine, 2019, https://arxiv.org/abs/1909.04630), figure 2.

    Examples:
        >>> import metabench as mb
        >>> rows = [
        ...     mb.Row("minimum_found", value=1.0, low=0.9, high=1.0),
        ...     mb.Row("gradient_norm_at_minimum", value=1e-9),
        ...     mb.Row("error_unrolled", at=5.0, of="fomaml", value=0.9, low=0.8, high=1.0),
        ...     mb.Row("cosine_unrolled", at=5.0, of="fomaml", value=0.6, low=0.5, high=0.7),
        ... ]
        >>> [finding.repair for finding in mb.Agreement().find(mb.to_table(rows))]
        ['Use the unroll or an implicit gradient at this K.']
    """

    tasks: int = 32  # tasks to draw; every method runs on the same ones [tasks]
    at: tuple[int, ...] = (1, 2, 5, 10, 20, 40)  # values of K; algo.steps is added [steps]
    proximal_strength: float = -1.0  # lambda; -1: that of imaml if it is measured, or 2 [curvature]
    proximal_strengths: tuple[float, ...] = (4.0,)  # further lambdas at largest K, as multiples [1]
    solvers: tuple[str, ...] = ("cg",)  # linear solvers; dense up to 200 parameters [names]
    budgets: tuple[int, ...] = (1, 5, 20)  # numbers of steps of each iterative solver [products]
    truncate: int = 5  # last steps of truncated backpropagation; 0: leave it out [steps]
    minimum_steps: int = 300  # gradient descent steps to find the inner minimum [steps]
    rounds: int = 3  # how often each method is timed [calls]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "K"
    axes: ClassVar[Mapping[str, str]] = {"error/proximal strength": "lambda"}
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    shown: ClassVar[tuple[str, ...]] = ("error", "seconds")
    headline: ClassVar[tuple[str, ...]] = (
        *("error, * @ last", "proximal_strength", "saddles @ last", "minimum_found"),
    )
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
        "diverged": "growth",
        "not_finite_input": "growth",
        "minimum_not_found": "solver",
        "cause_of_error": "solver",
        "first_order": "estimator",
    }
    question: ClassVar[str] = "How close is each method to the gradient at the inner minimum?"
    caption: ClassVar[str] = (
        "Relative error of each method's meta-gradient with respect to the gradient at the inner "
        "minimum (median over tasks), against the seconds that the method takes. K grows along "
        "each line. Lower left is better. Where a line flattens, more inner steps no longer help: "
        "the remaining error is that of the solver's budget, or of the second-order terms that "
        "first-order methods omit. `cg 5` is the implicit gradient with 5 steps of CG; `truncated "
        "5` backpropagates through the last 5 inner steps."
    )

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name, least in (("tasks", 1), ("truncate", 0), ("minimum_steps", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if not self.at or min(self.at) < 0:
            raise InvalidInput(f"at is {list(self.at)}; give values of K, each 0 or more.")
        if not self.budgets or min(self.budgets) < 1:
            raise InvalidInput(
                f"budgets is {list(self.budgets)}; give steps of the solver, each 1 or more."
            )
        if min(self.proximal_strengths, default=1) <= 0:
            raise InvalidInput(
                f"proximal_strengths is {list(self.proximal_strengths)}; give factors above 0."
            )
