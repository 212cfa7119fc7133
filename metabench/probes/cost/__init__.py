"""Which algorithm gives the lowest error of the meta-gradient for a given cost?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.probes.cost.meanings import MEANINGS
from metabench.settings.errors import InvalidInput

EXACT, UNROLL = "maml", "autograd"  # the unbiased reference, and plain autograd through its unroll


@dataclass(frozen=True)
class Cost(Probe):
    """Seconds, memory and error of every algorithm's meta-gradient.

    The error is the mean squared distance |bias|^2 + V1 / B to the true meta-gradient of the same
    inner loop, of which MAML is an unbiased estimate. `autograd` is reverse mode through the whole
    unroll, as other libraries compute it.
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761), chapters 3 and 12.

    Examples:
        >>> import metabench as mb
        >>> rows = [
        ...     mb.Row("mse", at=25.0, of="maml", value=1.2, low=0.9, high=1.5),
        ...     mb.Row("mse", at=25.0, of="fomaml", value=3.0, low=2.0, high=4.0),
        ... ]
        >>> [finding.repair for finding in mb.Cost(batch=25).find(mb.to_table(rows))]
        ['Use --algo maml at this budget.']
    """

    tasks: int = 256  # tasks from which variance and bias are estimated [tasks]
    steps: tuple[int, ...] = (1, 5, 20)  # values of K to time; algo.steps is added [steps]
    sizes: tuple[int, ...] = (1, 5, 25, 100)  # task batches B for time and error [tasks]
    batch: int = 25  # your task batch B, to which findings refer [tasks]
    rounds: int = 7  # how often each algorithm is timed, taking turns [calls]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "B"
    axes: ClassVar[Mapping[str, str]] = {
        "bytes": "K",
        "mse_by_mebibytes": "MiB",
        "mse_by_seconds": "seconds",
        "seconds_by_k": "K",
    }
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    shown: ClassVar[tuple[str, ...]] = ("mse_by_seconds",)
    headline: ClassVar[tuple[str, ...]] = ("mse, * @ batch", "break_even, imaml", "parameters")
    table_quantities: ClassVar[Mapping[str, str]] = {
        "variance, maml": "low",
        "bias, fomaml": "low",
        "break_even, fomaml": "",
    }
    has_default_tasks: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 64, "steps": (5,), "sizes": (1, 25), "rounds": 2},
        {"tasks": 128, "rounds": 3},
    )
    causes: ClassVar[Mapping[str, str]] = {"diverged": "growth", "not_finite_input": "growth"}
    question: ClassVar[str] = "Which algorithm gives the lowest error for a given time?"
    caption: ClassVar[str] = (
        "Mean squared error to the true meta-gradient over the seconds spent on tasks, from the "
        "measured bias, variance and seconds of each algorithm. Where a line flattens, the error "
        "left is bias, and more tasks no longer help. Use the algorithm that is lowest at your "
        "budget."
    )

    def __post_init__(self) -> None:
        """Validate the settings; a variance needs at least 16 tasks."""
        for name, least in (("tasks", 16), ("batch", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name, least in (("steps", 0), ("sizes", 1)):
            if min(getattr(self, name), default=-1) < least:
                given = list(getattr(self, name))
                raise InvalidInput(f"{name} is {given}; give values of at least {least}.")
