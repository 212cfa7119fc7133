"""Is this meta-gradient right? Checked before every measurement, and by `metabench verify`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Verify(Probe):
    """Check the meta-gradient by independent computations.

    Compared are finite differences, a loop over tasks, a repeated call, float64, and reverse mode
    through the whole unroll (for an implicit gradient, where the inner loop has converged). Finite
    differences count where two adjacent step sizes of 1e-5 .. 1e-8 agree; where none do, or the
    one-sided derivatives differ, the status is `kink`, not `wrong`. Hessian symmetry is
    |<u, Hv> - <v, Hu>| / |<u, Hv>| for the inner Hessian.
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761).

    >>> import metabench as mb
    >>> quadratic = mb.Quadratic(dim=2)
    >>> theta = quadratic.theta(seed=0)
    >>> subject = mb.Subject(quadratic.problem(), quadratic.sample, mb.MAML(steps=1), theta)
    >>> rows = mb.Verify(directions=1, thorough=False).measure(subject, seed=0)
    >>> {row.of: row.status for row in rows}["finite differences"]
    'ok'
    """

    tasks: int = 2  # tasks that are checked [tasks]
    directions: int = 3  # random directions of the finite differences [directions]
    thorough: bool = True  # also check against autograd, linear solves and layer by layer

    version: ClassVar[int] = 5
    axis: ClassVar[str] = ""
    shown: ClassVar[tuple[str, ...]] = ("check",)
    headline: ClassVar[tuple[str, ...]] = ("check, *", "task_fact, *")
    table_quantities: ClassVar[Mapping[str, str]] = {
        "check, finite differences": "low",
        "check, precision": "low",
    }
    has_default_tasks: ClassVar[bool] = True
    causes: ClassVar[Mapping[str, str]] = {
        "check_resolution": "precision",
        "check_precision": "precision",
        "half_gradient": "precision",
        "check_finite_differences": "gradient",
        "check_vmap_against_a_loop": "gradient",
        "check_hessian_symmetry": "gradient",
        "check_repeated_call": "gradient",
        "check_batch_is_the_mean": "gradient",
        "check_autograd_through_the_unroll": "gradient",
        "check_layers": "gradient",
        "check_implicit_against_unrolled": "solver",
        "check_solver_residual": "solver",
        "unchecked_norms": "gradient",
        "unchecked": "gradient",
        "not_finite": "growth",
        "zero": "gradient",
        "saddle": "curvature",
        "check_shorter": "gradient",
        "check_loss_of_its_algorithm": "gradient",
        "check_gradient_of_its_algorithm": "gradient",
    }
    question: ClassVar[str] = "Is this meta-gradient right?"
    caption: ClassVar[str] = (
        "Relative error of each check, on a few tasks in float64. A check passes if its point lies "
        "left of the dashed line. Round-off is about 1e-15; finite differences reach about 1e-8."
    )

    def __post_init__(self) -> None:
        """Validate that there is at least one task and one direction."""
        for name in ("tasks", "directions"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 1.")
