"""The plan of a checkup: problem, theta, outer loop, probes and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metabench.diagnosis.checkup import Checkup, checkup
from metabench.diagnosis.parts import Keeper
from metabench.diagnosis.trial import Trial
from metabench.measurement.clock import Clock
from metabench.measurement.from_words import build, split_assignments
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.settings import fields, registry
from metabench.settings.errors import unknown
from metabench.settings.user_errors import user_errors

Chosen = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """Settings of a checkup, except its time budget and where its parts are stored."""

    measurement: Measurement  # problem, algorithm, theta and seed; its probe is not used
    outer: OuterOptimizer = field(default_factory=OuterOptimizer)  # of the training
    steps: int = 8  # outer steps of a trial; 0: no trials [steps]
    only: tuple[str, ...] = ()  # probes to run; empty: all
    tasks: int | None = None  # most tasks of a probe without a default of its own [tasks]
    chosen: Chosen = field(default_factory=dict)  # fixed settings, by probe and "trial"

    def __post_init__(self) -> None:
        """Validate the names of the probes and the settings of the trials."""
        known = registry.members("probes")
        for name in self.only:
            if name not in known:
                raise unknown("probe", name, known, " that diagnose runs")
        self._trial()

    @property
    def spec(self) -> dict[str, Any]:
        """Settings as plain JSON values."""
        settings = {key: value for key, value in self.measurement.spec().items() if key != "probe"}
        settings |= {"outer": fields.settings(self.outer), "try": self.steps}
        return settings | {name: dict(given) for name, given in self.chosen.items() if given}

    def check(self, clock: Clock, keeper: Keeper | None = None) -> Checkup:
        """Run the checkup within the clock's time, resuming from stored parts."""
        with user_errors():
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
    """Make a plan from the words of the command line.

    Args:
        steps: outer steps of a trial; 0 runs no trials.
        tasks: most tasks of a probe without a default of its own.
        probe: names of the probes to run, separated by commas; "" runs all.
        assignments: fields of outer, trial, algo, family, compute or a probe: `outer.batch=4`.
        choices: the rest as `measurement.from_words.build` takes it.

    Raises:
        InvalidInput: if there is no such member, field, file or device.
    """
    groups, rest = split_assignments(assignments, ("outer", "trial", *registry.members("probes")))
    only = tuple(name for name in probe.split(",") if name)
    outer: OuterOptimizer = fields.make(OuterOptimizer, groups.pop("outer"), "outer")
    measurement = build("verify", assignments=rest, **choices).resolved()
    return Plan(measurement, outer, steps, only, tasks, groups)
