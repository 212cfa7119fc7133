"""Is this meta-gradient right? Asked cheaply ahead of every figure, and by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput


@dataclass(frozen=True)
class Verify(Probe):
    """Check the meta-gradient against finite differences, a loop, itself, and Hessian symmetry.

    In float64, on a few tasks. Directional differences count where two adjacent steps of 1e-5 ..
    1e-8 agree; where none do, or the slopes of the two sides differ, the verdict is `kink`, not
    `wrong`. Symmetry is |<u, Hv> - <v, Hu>| / |<u, Hv>| for the inner Hessian. Reverse mode through
    the whole unroll is the same number by another way; an implicit gradient's where its inner loop
    has converged.
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761).
    """

    tasks: int = 2  # tasks that are checked [tasks]
    directions: int = 3  # random directions of the finite differences [directions]
    thorough: bool = True  # the unroll, linear solves and each layer too, which the gate leaves out

    version: ClassVar[int] = 3
    axis: ClassVar[str] = ""
    table_quantities: ClassVar[Mapping[str, str]] = {
        "check, finite differences": "low",
        "check, precision": "low",
    }
    has_default_tasks: ClassVar[bool] = True
    causes: ClassVar[Mapping[str, str]] = {
        "check_resolution": "precision",
        "check_precision": "precision",
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
        "zero": "gradient",
        "saddle": "curvature",
    }
    question: ClassVar[str] = "Is this meta-gradient right?"
    caption: ClassVar[str] = (
        "Relative error of each check, on a few tasks in float64. Left of the dashed line a check "
        "holds; round-off lies around 1e-15, finite differences reach about 1e-8."
    )

    def __post_init__(self) -> None:
        """Refuse to check nothing."""
        for name in ("tasks", "directions"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least 1.")
