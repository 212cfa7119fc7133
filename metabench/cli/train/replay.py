"""Replay the step at which a training stopped, from what was recorded of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from metabench.algorithms.base import Estimator
from metabench.estimation.estimator_on_tasks import Subject
from metabench.measurement.from_words import algorithm_of, family_of
from metabench.outer_loop.divergence_report import examine, row_of, sentence, unusable
from metabench.outer_loop.step_recorder import Recording, load
from metabench.problems.family import Family
from metabench.records import record_files
from metabench.records.provenance import provenance
from metabench.records.rows import Finding, Row
from metabench.report.terminal import print_findings, print_table
from metabench.report.text_tables import TextTable, number
from metabench.settings import fields, registry
from metabench.settings.errors import Misuse

EXPLODED = 1e4  # times |g| at the oldest theta that is held: more is no repair


def replay(
    file: Path, problem: str | None, algo: str, assignments: Sequence[str], as_json: bool
) -> None:
    """Compute the recorded step again, and say where it goes wrong or that it no longer does."""
    recording = load(file)
    told = recording.about.get("spec", {})
    algorithm = _algorithm(told, algo, fields.parse(assignments, ("algo",))["algo"])
    subject = _subject(told, problem, algorithm, recording)
    norms = [_norm(subject, moment.theta, recording) for moment in recording.moments]
    finding = _finding(subject, recording, norms)
    rows = [
        Row("gradient_norm", at=float(moment.step), value=norm if math.isfinite(norm) else None,
            status="ok" if math.isfinite(norm) else "diverged")
        for moment, norm in zip(recording.moments, norms, strict=True)
    ]  # fmt: skip
    if as_json:
        settings = {"recording": file.name, **told}
        click.echo(
            record_files.record(settings, [*rows, *finding.evidence], [finding], provenance("cpu"))
        )
        return
    lines = tuple(
        (str(moment.step), number(float(moment.theta.double().norm())), f"{norm:.3g}")
        for moment, norm in zip(recording.moments, norms, strict=True)
    )
    print_table(TextTable(("step", "|theta|", "|g| of the last step's tasks"), lines))
    click.echo()
    print_findings([finding])
    click.echo(f"\n{_redrawn(subject, told, recording)}")


def _algorithm(told: dict[str, Any], name: str, settings: dict[str, Any]) -> Estimator:
    """Build the recorded algorithm, or another, with what is to be changed."""
    recorded = dict(told.get("algo", {"name": "maml"}))
    if name and name != recorded["name"]:
        return algorithm_of(name, settings)
    base: Estimator = fields.build("algorithms", recorded.pop("name"), recorded)
    changed = _over(fields.settings(base), settings)
    made: Estimator = fields.make(type(base), changed, told.get("algo", {"name": "maml"})["name"])
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
    """Build the recorded problem and look at it from the theta of the last moment."""
    recorded = dict(told.get("family", {}))
    name = recorded.pop("name", "")
    if problem is None and name not in registry.members("families"):
        raise Misuse(
            f"It was recorded on {name or 'a problem of your own'}; name that: --problem "
            "FILE.py:NAME."
        )
    family: Family = family_of(name, problem, {} if problem else recorded)
    at = recording.moments[-1].theta
    made = family.problem()
    start = at.new_zeros(made.layouts.theta.size)
    subject = Subject(made, family.sample, algorithm, start)
    if subject.theta.shape != at.shape:
        raise Misuse(
            f"The recorded theta has {len(at)} numbers, this problem's {len(subject.theta)}: it is "
            "of another problem or algorithm."
        )
    return subject.at(at)


def _norm(subject: Subject, theta: Tensor, recording: Recording) -> float:
    """Give |g| of the recorded batch at a theta, with torch's random state as it was."""
    torch.set_rng_state(recording.moments[-1].random)
    problem, algorithm = subject.problem, subject.algorithm
    many = subject.lift.per_task(lambda at, task: algorithm(problem, at, task).grad)
    found: Tensor = many(theta, recording.tasks)
    return float(found.mean(0).norm())


def _finding(subject: Subject, recording: Recording, norms: list[float]) -> Finding:
    """Say where the last moment goes wrong, or that beside the oldest it is sound."""
    moment, norm = recording.moments[-1], norms[-1]
    torch.set_rng_state(moment.random)
    cause = examine(
        subject.problem,
        subject.algorithm,
        moment.theta,
        recording.tasks,
        recording.moments[0].theta,
    )
    began = row_of(cause, None if moment.address is None else int(moment.address.task[cause.task]))
    if not unusable(norm, norms[0], EXPLODED):
        claim = f"Replayed, step {moment.step} is sound: its meta-gradient has norm {norm:.3g}."
        return Finding("replayed", "info", claim, "Train with these settings.", (began,))
    claim = f"Replayed, step {moment.step} goes wrong again, at |g| = {norm:.3g}. {sentence(began)}"
    repair = "Try a change here before training again: --set algo.step.rate=..."
    return Finding("replayed", "critical", claim, repair, (began,))


def _redrawn(subject: Subject, told: dict[str, Any], recording: Recording) -> str:
    """Say whether the addresses still give the recorded tasks."""
    address = recording.moments[-1].address
    if address is None or "seed" not in told:
        return "The tasks were recorded without addresses."
    from torch.utils._pytree import tree_leaves

    drawn = subject.draw(address, told["seed"])
    pairs = zip(tree_leaves(drawn), tree_leaves(recording.tasks), strict=True)
    if all(torch.equal(one, other) for one, other in pairs):
        return "Its tasks, drawn again from their addresses, are the recorded ones."
    return "Its tasks, drawn again from their addresses, are others: the family has changed since."
