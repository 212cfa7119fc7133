"""What is to be checked up: problem, theta, the outer loop trained with, and what is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metabench.diagnosis.checkup import Checkup, checkup
from metabench.diagnosis.clock import Clock
from metabench.diagnosis.parts import Keeper
from metabench.diagnosis.trial import Trial
from metabench.measurement.from_words import build, split_assignments
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.settings import fields, registry

Chosen = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """A checkup as it is asked for; how long it may take, and where it is kept, is said later."""

    measurement: Measurement  # problem, algorithm, theta and seed; its own probe doesn't matter
    outer: OuterOptimizer = field(default_factory=OuterOptimizer)  # the outer loop trained with
    steps: int = 8  # outer steps that each change is tried over, 0: try none [steps]
    only: tuple[str, ...] = ()  # the probes to ask; empty: all
    tasks: int | None = None  # most tasks of probes whose number follows the family's [tasks]
    chosen: Chosen = field(default_factory=dict)  # pinned settings, by probe; the trial's: "trial"

    def __post_init__(self) -> None:
        """Refuse probes and a trial that can't be."""
        for name in self.only:
            registry.load("probes", name)
        self._trial()

    @property
    def spec(self) -> dict[str, Any]:
        """What is asked, as plain JSON values."""
        settings = {key: value for key, value in self.measurement.spec().items() if key != "probe"}
        settings |= {"outer": fields.settings(self.outer), "try": self.steps}
        return settings | {name: dict(told) for name, told in self.chosen.items() if told}

    def check(self, clock: Clock, keeper: Keeper | None = None) -> Checkup:
        """Do it within the clock's time, going on from what is kept."""
        return checkup(
            self.measurement,
            self.outer,
            clock,
            keeper,
            chosen=self.chosen,
            only=self.only,
            tasks=self.tasks,
            trial=self._trial() if self.steps else None,
        )

    def _trial(self) -> Trial:
        given = {"steps": max(self.steps, 1), **self.chosen.get("trial", {})}
        made: Trial = fields.make(Trial, given, "trial")
        return made


def plan_of(
    *,
    steps: int = 8,
    tasks: int | None = None,
    probe: str = "",
    assignments: Sequence[str] = (),
    **choices: Any,
) -> Plan:
    """Make a plan of words.

    Args:
        steps: outer steps that each change is tried over; 0 tries none.
        tasks: most tasks of probes whose number follows the family's.
        probe: names of the probes to ask, with commas; "" asks all.
        assignments: fields of outer, trial, algo, family, compute or a probe: `outer.batch=4`.
        choices: the rest as `measurement.from_words.build` takes it.

    Raises:
        InvalidInput: if there is no such member, field, file or device.
    """
    own, rest = split_assignments(assignments, ("outer", "trial", *registry.members("probes")))
    only = tuple(name for name in probe.split(",") if name)
    outer: OuterOptimizer = fields.make(OuterOptimizer, own.pop("outer"), "outer")
    measurement = build("verify", assignments=rest, **choices).resolved()
    return Plan(measurement, outer, steps, only, tasks, own)
