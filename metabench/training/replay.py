"""Compute the step at which a training stopped again, from what was recorded of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from metabench.algorithms.base import Estimator
from metabench.estimation.estimator_on_tasks import Subject
from metabench.measurement.from_words import algorithm_of, family_of
from metabench.outer_loop.divergence_report import (
    cause_row,
    cause_sentence,
    failure_kind,
    find_cause,
)
from metabench.outer_loop.last_steps import Recording, load
from metabench.problems.family import Family
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput
from metabench.settings.trust import trusted_settings

EXPLODED = 1e4  # times |g| at the oldest theta that is held: more is no repair


class Replayed(NamedTuple):
    """What the recorded step does now."""

    spec: Mapping[str, Any]  # of the training that stopped
    thetas: list[tuple[int, float]]  # recorded steps, and |theta| at each
    norms: list[float]  # |g| of the last step's tasks at each of them
    finding: Finding
    address_check: str  # whether the tasks' addresses still give them, in a sentence

    @property
    def rows(self) -> list[Row]:
        """The norms as rows; one that isn't finite has none."""
        pairs = zip(self.thetas, self.norms, strict=True)
        return [_row(float(step), norm) for (step, _), norm in pairs]


def replay(
    file: Path,
    problem: str | None = None,
    algo: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Replayed:
    """Compute the recorded step again, and say where it goes wrong or that it no longer does.

    Args:
        file: what was recorded.
        problem: where the problem stands, if the training was of one's own.
        algo: another algorithm; "" for the recorded one.
        settings: changed fields of the algorithm.

    Raises:
        InvalidInput: if the recording is of another problem.
    """
    recording = load(file)
    told = recording.about.get("spec", {})
    algorithm = _algorithm(told, algo, dict(settings or {}))
    subject = _subject(told, problem, algorithm, recording)
    norms = [_norm(subject, snapshot.theta, recording) for snapshot in recording.snapshots]
    finding = _finding(subject, recording, norms)
    thetas = [
        (snapshot.step, float(snapshot.theta.double().norm())) for snapshot in recording.snapshots
    ]
    return Replayed(told, thetas, norms, finding, _address_check(subject, told, recording))


def _row(at: float, norm: float) -> Row:
    if math.isfinite(norm):
        return Row("gradient_norm", at=at, value=norm)
    return Row("gradient_norm", at=at, status="diverged")


def _algorithm(told: dict[str, Any], name: str, settings: dict[str, Any]) -> Estimator:
    """Build the recorded algorithm, or another, with what is to be changed."""
    recorded = dict(told.get("algo", {"name": "maml"}))
    if name and name != recorded["name"]:
        return algorithm_of(name, settings)
    if ":" in recorded["name"] and not name:  # its code is not run because a file names it
        raise InvalidInput(
            f"It was recorded with {recorded['name']}; name that: --algo FILE.py:NAME."
        )
    recorded = trusted_settings(recorded, (name,))
    base: Estimator = fields.build("algorithms", recorded.pop("name"), recorded)
    changed = _over(fields.settings(base), settings)
    called = told.get("algo", {"name": "maml"})["name"]
    made: Estimator = fields.make(type(base), changed, called, "algo")
    return made


def _over(held: Any, changes: Any) -> Any:
    """Put nested changes over nested settings."""
    if not isinstance(changes, dict) or not isinstance(held, dict):
        return changes
    if "name" in changes and changes["name"] != held.get("name"):
        return changes
    return {**held, **{key: _over(held.get(key), value) for key, value in changes.items()}}


def _subject(
    told: dict[str, Any], problem: str | None, algorithm: Estimator, recording: Recording
) -> Subject:
    """Build the recorded problem and look at it from the theta of the last snapshot."""
    recorded = dict(told.get("family", {}))
    name = recorded.pop("name", "")
    if problem is None and name not in registry.members("families"):
        raise InvalidInput(
            f"It was recorded on {name or 'a problem of your own'}; name that: --problem "
            "FILE.py:NAME."
        )
    family: Family = family_of(name, problem, {} if problem else recorded)
    at = recording.snapshots[-1].theta
    made = family.problem()
    start = at.new_zeros(made.layouts.theta.size)
    subject = Subject(made, family.sample, algorithm, start)
    if subject.theta.shape != at.shape:
        raise InvalidInput(
            f"The recorded theta has {len(at)} numbers, this problem's {len(subject.theta)}: it is "
            "of another problem or algorithm."
        )
    return subject.at(at)


def _norm(subject: Subject, theta: Tensor, recording: Recording) -> float:
    """Give |g| of the recorded batch at a theta, with torch's random state as it was."""
    torch.set_rng_state(recording.snapshots[-1].random)
    problem, algorithm = subject.problem, subject.algorithm
    many = subject.compute.per_task(lambda at, task: algorithm(problem, at, task).grad)
    found: Tensor = many(theta, recording.tasks)
    return float(found.mean(0).norm())


def _finding(subject: Subject, recording: Recording, norms: list[float]) -> Finding:
    """Say where the last snapshot goes wrong, or that beside the oldest it is sound."""
    snapshot, norm = recording.snapshots[-1], norms[-1]
    torch.set_rng_state(snapshot.random)
    cause = find_cause(
        subject.problem,
        subject.algorithm,
        snapshot.theta,
        recording.tasks,
        recording.snapshots[0].theta,
    )
    began = cause_row(
        cause, None if snapshot.address is None else int(snapshot.address.task[cause.task])
    )
    if not failure_kind(norm, norms[0], EXPLODED):
        claim = (
            f"Replayed, step {snapshot.step} is sound: its meta-gradient has norm {number(norm)}."
        )
        return Finding("replayed", "info", "fine", claim, "Train with these settings.", (began,))
    where = cause_sentence(began)
    claim = f"Replayed, step {snapshot.step} fails again: |g| = {number(norm)}. {where}"
    repair = "Try a change here before training again: --set algo.inner_optimizer.rate=..."
    return Finding("replayed", "critical", "fault", claim, repair, (began,))


def _address_check(subject: Subject, told: dict[str, Any], recording: Recording) -> str:
    """Say whether the addresses still give the recorded tasks."""
    address = recording.snapshots[-1].address
    if address is None or "seed" not in told:
        return "The tasks were recorded without addresses."
    drawn = subject.draw(address, told["seed"])
    pairs = zip(tree_leaves(drawn), tree_leaves(recording.tasks), strict=True)
    if all(torch.equal(one, other) for one, other in pairs):
        return "Its tasks, drawn again from their addresses, are the recorded ones."
    return "Its tasks, drawn again from their addresses, are others: the family has changed since."
