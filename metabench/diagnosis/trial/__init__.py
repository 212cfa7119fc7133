"""Does a change help? Train a little with and without it, and compare on held-out tasks."""

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

    Each is repeated on task streams of its own, the same ones for all changes, and ends in the loss
    after adaptation on held-out tasks; differences are paired, their intervals hold together
    (Bonferroni; Dunn, 1961, https://doi.org/10.1080/01621459.1961.10482090). A change that makes a
    task dearer gets fewer steps, by counted work. The outer optimizer begins anew.
    """

    changes: tuple[str, ...] = ()  # each tried alone: algo.inner_optimizer.rate=0.05, algo=fomaml
    steps: int = 8  # outer steps of the unchanged training [steps]
    repeats: int = 16  # task streams, 4 or more [streams]
    held_out: int = 64  # tasks of each stream that the loss is told of [tasks]
    outer: tuple[str, ...] = ()  # settings of the outer loop, as rate=0.001

    axis: ClassVar[str] = "steps"
    has_default_tasks: ClassVar[bool] = True
    question: ClassVar[str] = "Which change helps, at equal compute?"
    caption: ClassVar[str] = (
        "Change of the loss after adaptation on held-out tasks, against the unchanged training of "
        "equal compute: left of the line is better. Bars hold together, at 95 % for all of them."
    )
    intervals: ClassVar[str] = (
        "Student's t over paired task streams (at once: over paired tasks), at a level that holds "
        "for all changes together (Bonferroni)."
    )

    def __post_init__(self) -> None:
        """Refuse trainings from which no interval follows."""
        for name, least in (("steps", 1), ("repeats", 4), ("held_out", 2)):
            if getattr(self, name) < least:
                raise InvalidInput(f"{name} is {getattr(self, name)}; it must be at least {least}.")

    def outer_loop(self, more: tuple[str, ...] = ()) -> OuterOptimizer:
        """Make the outer loop's settings, with some changed."""
        from metabench.outer_loop.optimizer_settings import OuterOptimizer
        from metabench.settings import fields

        given = dict(each.split("=", 1) for each in (*self.outer, *more))
        made: OuterOptimizer = fields.make(
            OuterOptimizer, {**given, "held_out": self.held_out}, "outer"
        )
        return made
