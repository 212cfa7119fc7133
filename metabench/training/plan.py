"""Plan of a training: problem, first theta, outer loop, number of steps, probes on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.base import Family
from metabench.measurement.from_words import build, probe_of, split_assignments
from metabench.measurement.measurement import Measurement
from metabench.outer_loop.mean_gradient import steps_per_algorithm, with_fixed_engine
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.probes.base import Probe
from metabench.settings import fields
from metabench.training.shown import Training


@dataclass(frozen=True)
class Plan:
    """Settings of a training; `session.Session` runs it and writes files."""

    cell: Measurement  # problem, algorithm, first theta and seed; its probe is not used
    outer: OuterOptimizer  # optimizer, schedule and batch size
    steps: int  # outer steps [steps]
    every: int  # between validations, probes and checkpoints [steps]
    probes: Mapping[str, Probe]  # run at every pause, by the prefix of their rows

    @property
    def spec(self) -> dict[str, Any]:
        """Settings that determine theta after each step, as plain JSON values."""
        settings = {key: value for key, value in self.cell.spec().items() if key != "probe"}
        settings["outer"] = fields.settings(self.outer)
        if self.outer.schedule == "cosine":
            settings["outer"]["steps"] = self.steps
        return settings

    @property
    def training(self) -> Training:
        """The probe that reads and draws the rows of this training."""
        return Training(self.steps, self.every, self.outer)

    def with_fixed_engine(self, engine: str) -> Plan:
        """Return the plan with one engine for all steps: the given one, or if "" a chosen one."""
        shared_steps = steps_per_algorithm(self.cell.algorithm, self.outer, self.steps)
        return replace(
            self,
            cell=replace(
                self.cell, compute=with_fixed_engine(self.cell.compute, shared_steps, engine)
            ),
        )

    def trainer(self) -> Trainer:
        """Return a trainer at step 0."""
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
    """Return the plan for settings given as on the command line.

    Args:
        steps: number of outer steps.
        every: steps between validations; None: a tenth of `steps`.
        probe: names of probes to run at every pause, separated by commas.
        assignments: fields of outer, algo, family, compute or one of these probes:
            `outer.rate=0.01`.
        choices: further arguments of `measurement.from_words.build`.

    Raises:
        InvalidInput: if a named member, field, file or device does not exist.
    """
    names = [name for name in probe.split(",") if name]
    by_section, rest = split_assignments(assignments, ("outer", *names))
    outer: OuterOptimizer = fields.make(OuterOptimizer, by_section["outer"], "outer")
    cell = build("verify", assignments=rest, **choices).resolved()
    probes = {name: probe_of(name, by_section[name], cell.family, name) for name in names}
    return Plan(cell, outer, steps, every or max(steps // 10, 1), probes)


def held_out(cell: Measurement) -> Subject | None:
    """Return the subject on the family's held-out split; None where there is no other split."""
    family = cell.family
    if not family.held_out or getattr(family, "split", "") == family.held_out:
        return None
    settings = {**fields.settings(family), "split": family.held_out}
    other: Family = fields.make(type(family), settings, "family")
    return replace(cell, family=other, theta="").subject()
