"""Replay of the outer step at which a training stopped, from its recording."""

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
from metabench.families.base import Family
from metabench.measurement.from_words import algorithm_of, family_of
from metabench.outer_loop.divergence_report import (
    cause_row,
    cause_sentence,
    failure_kind,
    find_cause,
)
from metabench.outer_loop.last_steps import Recording, load
from metabench.records.checksummed_tensors import of_its_kind
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row
from metabench.settings import fields, registry
from metabench.settings.errors import InvalidInput
from metabench.settings.trust import trusted_settings

EXPLODED_NORM_RATIO = 1e4  # |g| over |g| at the oldest recorded theta beyond which it still fails


class Replayed(NamedTuple):
    """Result of a replay."""

    spec: Mapping[str, Any]  # of the training that stopped
    thetas: list[tuple[int, float]]  # recorded step, and |theta| before it
    norms: list[float]  # |g| of the last step's tasks at each of these thetas
    finding: Finding
    address_check: str  # sentence: do the recorded addresses still give the recorded tasks?

    @property
    def rows(self) -> list[Row]:
        """Norms as rows; a norm that is not finite has the status `diverged`."""
        pairs = zip(self.thetas, self.norms, strict=True)
        return [_row(float(step), norm) for (step, _), norm in pairs]


def replay(
    file: Path,
    problem: str | None = None,
    algo: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Replayed:
    """Replay the recorded step and find where it fails, or that it no longer does.

    Args:
        file: the recording.
        problem: `FILE.py:NAME` of a custom problem; None for a registered family.
        algo: name of another algorithm; "" for the recorded one.
        settings: fields of the algorithm to change, by name.

    Raises:
        InvalidInput: if the recording is damaged or was made with another problem.
    """
    recording = load(file)
    spec = recording.about.get("spec", {})
    with of_its_kind(file.name):
        algorithm = _algorithm(spec, algo, dict(settings or {}))
        subject = _subject(spec, problem, algorithm, recording)
        norms = [_norm(subject, snapshot.theta, recording) for snapshot in recording.snapshots]
    finding = _finding(subject, recording, norms)
    thetas = [
        (snapshot.step, float(snapshot.theta.double().norm())) for snapshot in recording.snapshots
    ]
    return Replayed(spec, thetas, norms, finding, _address_check(subject, spec, recording))


def _row(at: float, norm: float) -> Row:
    if math.isfinite(norm):
        return Row("gradient_norm", at=at, value=norm)
    return Row("gradient_norm", at=at, status="diverged")


def _algorithm(spec: dict[str, Any], name: str, settings: dict[str, Any]) -> Estimator:
    """Build the recorded algorithm, or the named one, with changed fields."""
    recorded = dict(spec.get("algo", {"name": "maml"}))
    if name and name != recorded["name"]:
        return algorithm_of(name, settings)
    if ":" in recorded["name"] and not name:  # code named by a file is not run unasked
        raise InvalidInput(
            f"The recording was made with {recorded['name']}; give it: --algo FILE.py:NAME."
        )
    recorded = trusted_settings(recorded, (name,))
    base: Estimator = fields.build("algorithms", recorded.pop("name"), recorded)
    changed = _merged(fields.settings(base), settings)
    name_used = spec.get("algo", {"name": "maml"})["name"]
    made: Estimator = fields.make(type(base), changed, name_used, "algo")
    return made


def _merged(held: Any, changes: Any) -> Any:
    """Merge nested changes into nested settings."""
    if not isinstance(changes, dict) or not isinstance(held, dict):
        return changes
    if "name" in changes and changes["name"] != held.get("name"):
        return changes
    return {**held, **{key: _merged(held.get(key), value) for key, value in changes.items()}}


def _subject(
    spec: dict[str, Any], problem: str | None, algorithm: Estimator, recording: Recording
) -> Subject:
    """Build the recorded problem at the theta of the last snapshot."""
    recorded = dict(spec.get("family", {}))
    name = recorded.pop("name", "")
    if problem is None and name not in registry.members("families"):
        raise InvalidInput(
            f"The recording was made on {name or 'a custom problem'}; give it: --problem "
            "FILE.py:NAME."
        )
    family: Family = family_of(name, problem, {} if problem else recorded)
    at = recording.snapshots[-1].theta
    made = family.problem()
    start = at.new_zeros(made.layouts.theta.size)
    subject = Subject(made, family.sample, algorithm, start)
    if subject.theta.shape != at.shape:
        raise InvalidInput(
            f"The recorded theta has {len(at)} numbers, but this problem and algorithm need "
            f"{len(subject.theta)}; give those of the recording: --problem, --algo."
        )
    return subject.at(at)


def _norm(subject: Subject, theta: Tensor, recording: Recording) -> float:
    """Compute |g| of the recorded batch at a theta, from the recorded random state."""
    torch.set_rng_state(recording.snapshots[-1].random)
    problem, algorithm = subject.problem, subject.algorithm
    many = subject.compute.per_task(lambda at, task: algorithm(problem, at, task).grad)
    found: Tensor = many(theta, recording.tasks)
    return float(found.mean(0).norm())


def _finding(subject: Subject, recording: Recording, norms: list[float]) -> Finding:
    """Find where the last snapshot fails, compared with the oldest, or that it does not."""
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
    if not failure_kind(norm, norms[0], EXPLODED_NORM_RATIO):
        claim = f"Step {snapshot.step}, when replayed, no longer fails: |g| = {number(norm)}."
        return Finding("replayed", "info", "fine", claim, "Train with these settings.", (began,))
    where = cause_sentence(began)
    claim = f"Step {snapshot.step}, when replayed, fails again: |g| = {number(norm)}. {where}"
    repair = "Replay with a change before training again: --set algo.inner_optimizer.rate=..."
    return Finding("replayed", "critical", "fault", claim, repair, (began,))


def _address_check(subject: Subject, spec: dict[str, Any], recording: Recording) -> str:
    """Return a sentence: do the recorded addresses still give the recorded tasks?"""
    address = recording.snapshots[-1].address
    if address is None or "seed" not in spec:
        return "The tasks were recorded without addresses, so they can't be redrawn."
    drawn = subject.draw(address, spec["seed"])
    pairs = zip(tree_leaves(drawn), tree_leaves(recording.tasks), strict=True)
    if all(torch.equal(one, other) for one, other in pairs):
        return "The tasks redrawn from their addresses equal the recorded ones."
    return (
        "The tasks redrawn from their addresses differ from the recorded ones; the family changed."
    )
