"""What does one meta-gradient cost, and which algorithm buys the smallest error for it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput

EXACT, UNROLL = "maml", "autograd"  # whose rows are the truth, and the way others go to it


@dataclass(frozen=True)
class Cost(Probe):
    """Seconds and bytes of every algorithm's meta-gradient, and the error that they buy.

    The error is the mean squared distance |bias|^2 + V1 / B to the true meta-gradient of the same
    inner loop, which MAML has without bias. `autograd` is reverse mode through the whole unroll,
    what other libraries do.
    (Griewank & Walther, 2008, https://doi.org/10.1137/1.9780898717761), chapters 3 and 12.
    """

    tasks: int = 256  # tasks that variance and bias are estimated from [tasks]
    steps: tuple[int, ...] = (1, 5, 20)  # values of K that are timed; one's own joins them [steps]
    sizes: tuple[int, ...] = (1, 5, 25, 100)  # values of B that are timed and told [tasks]
    batch: int = 25  # the B you train with, which findings speak of [tasks]
    rounds: int = 7  # times each is timed, in turn [calls]

    version: ClassVar[int] = 2
    axis: ClassVar[str] = "B"
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
    question: ClassVar[str] = "Which algorithm buys the smallest error for its seconds?"
    caption: ClassVar[str] = (
        "Mean squared error to the true meta-gradient against the seconds spent on tasks, from the "
        "measured bias, variance and seconds of each algorithm. A line that flattens is biased: "
        "more tasks no longer help it. Whoever is lowest at your budget is the one to use."
    )

    def __post_init__(self) -> None:
        """Refuse to time nothing, and too few tasks for a variance."""
        for name, least in (("tasks", 16), ("batch", 1), ("rounds", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name, least in (("steps", 0), ("sizes", 1)):
            if min(getattr(self, name), default=-1) < least:
                given = list(getattr(self, name))
                raise InvalidInput(f"{name} is {given}; give values of at least {least}.")
