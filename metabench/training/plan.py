"""What is to be trained: problem, theta, outer loop, how far, and what is asked on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metabench.estimation.estimator_on_tasks import Subject
from metabench.measurement.from_words import build, probe_of, split_assignments
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.mean_gradient import steps_per_algorithm, with_fixed_engine
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.probes.base import Probe
from metabench.problems.family import Family
from metabench.settings import fields
from metabench.training.shown import Training


@dataclass(frozen=True)
class Plan:
    """A training as it is asked for; what it leaves on disk is `session.Session`'s affair."""

    cell: Measurement  # problem, algorithm, first theta and seed; its own probe doesn't matter
    outer: OuterOptimizer  # how theta is moved
    steps: int  # outer steps [steps]
    every: int  # from one validation, probe and checkpoint to the next [steps]
    probes: Mapping[str, Probe]  # asked along the way, by the names that their rows begin with

    @property
    def spec(self) -> dict[str, Any]:
        """What determines theta after each step, as plain JSON values."""
        settings = {key: value for key, value in self.cell.spec().items() if key != "probe"}
        settings["outer"] = fields.settings(self.outer)
        if self.outer.schedule == "cosine":
            settings["outer"]["steps"] = self.steps
        return settings

    @property
    def training(self) -> Training:
        """The same as something that is read and drawn."""
        return Training(self.steps, self.every, self.outer)

    def with_fixed_engine(self, engine: str) -> Plan:
        """Fix the engine of all steps: the given one, or "" for what so many steps deserve."""
        alike = steps_per_algorithm(self.cell.algorithm, self.outer, self.steps)
        return replace(
            self,
            cell=replace(self.cell, compute=with_fixed_engine(self.cell.compute, alike, engine)),
        )

    def trainer(self) -> Trainer:
        """Make what takes the steps."""
        cell = self.cell
        return Trainer(cell.subject(), self.outer, self.steps, cell.seed, held_out(cell))


def plan_of(
    *,
    steps: int,
    every: int | None = None,
    probe: str = "",
    assignments: Sequence[str] = (),
    **choices: Any,
) -> Plan:
    """Make a plan of words.

    Args:
        steps: outer steps.
        every: steps between validations; None: a tenth of all.
        probe: names of probes along the way, with commas.
        assignments: fields of outer, algo, family, compute or one of these probes:
            `outer.rate=0.01`.
        choices: the rest as `measurement.from_words.build` takes it.

    Raises:
        InvalidInput: if there is no such member, field, file or device.
    """
    names = [name for name in probe.split(",") if name]
    own, rest = split_assignments(assignments, ("outer", *names))
    outer: OuterOptimizer = fields.make(OuterOptimizer, own["outer"], "outer")
    cell = build("verify", assignments=rest, **choices).resolved()
    probes = {name: probe_of(name, own[name], cell.family, name) for name in names}
    return Plan(cell, outer, steps, every or max(steps // 10, 1), probes)


def held_out(cell: Measurement) -> Subject | None:
    """Look at the family's held-out split, where it has one."""
    family = cell.family
    if not family.held_out or getattr(family, "split", "") == family.held_out:
        return None
    settings = {**fields.settings(family), "split": family.held_out}
    other: Family = fields.make(type(family), settings, "family")
    return replace(cell, family=other, theta="").subject()
