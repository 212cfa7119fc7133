"""A measurement by its settings: a probe on an algorithm, a family and a theta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from metabench.algorithms.base import Estimator
from metabench.estimation.adapted_and_learned import adapted_and_learned
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.explained_errors import explained
from metabench.estimation.loaded_theta import loaded_theta
from metabench.estimation.vectorization import Vectorization
from metabench.families.base import Family
from metabench.families.own_problem import sampler_of
from metabench.measurement import (
    devices,
    find_with_checks,
    fingerprints,
    foreign_theta,
    measure_with_checks,
)
from metabench.measurement.given_theta import GivenTheta
from metabench.measurement.members import MEMBERS, member
from metabench.probes.base import Part, Probe, Progress, no_progress
from metabench.problems.checkpoint_files import require_ordinary
from metabench.problems.checkpoints import LoadedTheta
from metabench.problems.problem import Problem
from metabench.problems.random_numbers import LARGEST_SEED
from metabench.problems.tasks import Address
from metabench.records.rows import Finding, Row
from metabench.settings import fields as spec
from metabench.settings import registry
from metabench.settings.errors import InvalidInput, inside, unknown
from metabench.settings.synonyms import unknown_group
from metabench.settings.user_errors import user_errors

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Measurement:
    """All settings that determine a measurement's numbers, except its seconds."""

    probe: Probe
    algorithm: Estimator
    family: Family
    compute: Vectorization
    seed: int
    dtype: str
    device: str
    theta: str | GivenTheta  # a file, weights, or "" for the family's own initial theta

    def __post_init__(self) -> None:
        """Validate seed, dtype, device type and the file of theta."""
        with inside("seed"):
            if not 0 <= self.seed <= LARGEST_SEED:
                raise InvalidInput(f"The seed is {self.seed}; it must lie in 0 .. 2^60 - 1.")
        with inside("dtype"):
            if self.dtype not in DTYPES:
                raise unknown("dtype", self.dtype, DTYPES)
        with inside("device"):
            devices.device_type(self.device)
        with inside("theta"):
            if isinstance(self.theta, str) and self.theta:
                require_ordinary(Path(self.theta))

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Measurement:
        """Make a measurement from plain settings: tables of probe, algo, family, compute; the rest.

        Raises:
            InvalidInput: with the path of the setting that is unknown or invalid.
        """
        known = (*MEMBERS, "compute", "seed", "dtype", "device", "theta")
        for key in settings:
            if key not in known:
                with inside(key):
                    raise unknown_group("key", key, known, " of a measurement")
        rest = {key: value for key, value in settings.items() if key not in (*MEMBERS, "compute")}
        family = member(settings, "family", {})
        with inside("probe"):
            probe = registry.load("probes", settings["probe"]["name"])
        follows = not probe.has_default_tasks and "tasks" in spec.types_of(probe)
        defaults = {"tasks": family.tasks} if follows else {}
        with inside("compute"):
            compute = spec.make(Vectorization, settings.get("compute", {}), "compute")
        probe = member(settings, "probe", defaults)
        return cls(probe, member(settings, "algo", {}), family, compute, **rest)

    def require_device(self) -> None:
        """Check that this machine has the device; planning for another machine needs no check."""
        devices.require_device(self.device)

    def spec(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return {
            "probe": spec.to_json("probes", self.probe),
            "algo": spec.to_json("algorithms", self.algorithm),
            "family": spec.to_json("families", self.family),
            "compute": spec.settings(self.compute),
            "seed": self.seed,
            "dtype": self.dtype,
            "device": self.device,
            "theta": self._named_theta(),
        }

    def _named_theta(self) -> str:
        if isinstance(self.theta, GivenTheta):
            return self.theta.name
        if self.theta:
            return fingerprints.fingerprint_of_file(self.theta)
        return fingerprints.fingerprint_of_initial_theta(self.family)

    def subject(self) -> Subject:
        """Build the problem and theta, on the device."""
        with user_errors():
            problem = self.family.problem()
            if self.theta:
                theta, notes = self._trained(problem)
                problem = problem._replace(notes=(*problem.notes, *notes))
            else:
                theta = self.family.theta(self.seed)
        theta = theta.to(self.device, DTYPES[self.dtype])
        return Subject(problem, sampler_of(self.family), self.algorithm, theta, self.compute)

    def _trained(self, problem: Problem) -> LoadedTheta:
        """Return the given theta, with what the algorithm learns besides if it is there."""
        try:
            given = self.theta.weights if isinstance(self.theta, GivenTheta) else self.theta
            return loaded_theta(self.algorithm, problem, given)
        except InvalidInput as error:
            if not (rows := self.theta_differences()):
                raise
            fields = "; ".join(row.of for row in rows)
            raise InvalidInput(
                f"{error} theta was trained with other settings: {fields}."
            ) from error

    def resolved(self) -> Measurement:
        """Return the measurement with every `auto` setting resolved."""
        subject = self.subject()
        with explained("drawing tasks"):
            tasks = subject.draw(Address.fresh(0, 1), self.seed)
        with explained("one task"):
            algorithm, compute = subject.resolved(tasks)
        return replace(self, algorithm=algorithm, compute=compute)

    def adapted_and_learned(self) -> str:
        """Return a sentence on which parameters adapt and which are learned."""
        with user_errors():
            subject = self.subject()
        with explained("one task"):
            return adapted_and_learned(subject)

    def measure_part(self, part: Part) -> dict[str, NDArray[Any]]:
        """Measure one part of the tasks; returns arrays that `measure` merges."""
        with user_errors():
            return self.probe.measure_part(self.subject(), self.seed, part)

    def measure(
        self,
        progress: Progress = no_progress,
        parts: Sequence[Mapping[str, NDArray[Any]]] = (),
        checks: Sequence[Row] = (),
    ) -> list[Row]:
        """Check the meta-gradient, then run the probe; the checks' rows come last.

        Args:
            progress: called with the number of tasks done and of all tasks.
            parts: arrays of all parts from `measure_part`, in order, which are merged.
            checks: rows of the checks of this subject, if they have been made before.
        """
        measured = measure_with_checks.measure_checked(
            self.probe, self.subject(), self.seed, progress, parts, checks
        )
        return [*measured, *self.theta_differences()]

    def theta_differences(self) -> list[Row]:
        """Return one row for each setting in which theta was trained differently."""
        if isinstance(self.theta, GivenTheta) or not self.theta:
            return []
        return foreign_theta.theta_differences(self.theta, self.spec())

    def find(self, table: pd.DataFrame) -> list[Finding]:
        """Return the findings of the table, including its checks, most severe first."""
        return find_with_checks.find(self.probe, table)
