"""Trials: short trainings with and without each change, compared on held-out tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from metabench.probes.base import Probe
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from metabench.outer_loop.optimizer_settings import OuterOptimizer


@dataclass(frozen=True)
class Trial(Probe):
    """Short trainings from one theta, unchanged and with each change, at equal compute.

    Every training is repeated on several task streams, the same for all changes, and is judged by
    the loss after adaptation on held-out tasks. Differences are paired by stream; their intervals
    hold jointly (Bonferroni; Dunn, 1961, https://doi.org/10.1080/01621459.1961.10482090). A change
    that makes an outer step more expensive gets fewer steps, by counted work. The outer optimizer
    starts anew.
    """

    changes: tuple[str, ...] = ()  # each tried alone: algo.inner_optimizer.rate=0.05, algo=fomaml
    steps: int = 8  # outer steps of the unchanged training run [steps]
    repeats: int = 16  # task streams, 4 or more [streams]
    held_out: int = 64  # held-out tasks of each stream [tasks]
    outer: tuple[str, ...] = ()  # settings of the outer loop, such as rate=0.001

    axis: ClassVar[str] = "steps"
    has_default_tasks: ClassVar[bool] = True
    question: ClassVar[str] = "Which change helps, at equal compute?"
    caption: ClassVar[str] = (
        "Validation loss (of held-out tasks after adaptation), minus that of an unchanged training "
        "run of equal compute: left of the line is better. Intervals hold jointly at 95 %."
    )
    intervals: ClassVar[str] = (
        "Student's t over paired task streams (for a change tried without training: over paired "
        "tasks), at a level that holds for all changes together (Bonferroni)."
    )

    def __post_init__(self) -> None:
        """Validate the numbers of steps, repeats and held-out tasks."""
        for name, least in (("steps", 1), ("repeats", 4), ("held_out", 2)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")

    def outer_loop(self, more: tuple[str, ...] = ()) -> OuterOptimizer:
        """Return the outer loop's settings, with some changed: `rate=0.001`."""
        from metabench.outer_loop.optimizer_settings import OuterOptimizer
        from metabench.settings import fields

        given = dict(each.split("=", 1) for each in (*self.outer, *more))
        made: OuterOptimizer = fields.make(
            OuterOptimizer, {**given, "held_out": self.held_out}, "outer"
        )
        return made
