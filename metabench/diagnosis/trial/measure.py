"""Paired trainings with and without each change, on the same task streams."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabench.algorithms.base import Algorithm
from metabench.autodiff.operation_counts import work_of
from metabench.diagnosis.trial.apply import apply_change
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import first_task
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.probes.base import Progress
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats.intervals import LEVEL, Interval, t_quantile

if TYPE_CHECKING:
    from metabench.diagnosis.trial import Trial

Losses = NDArray[np.float64]  # of held-out tasks, (streams, tasks)
SEED_STEP = 101  # between the seeds of two streams


class Run(NamedTuple):
    """Losses of one training on every task stream."""

    subject: Subject
    steps: int
    before: Losses
    after: Losses
    stopped: int  # streams whose meta-gradient diverged


def measure(probe: Trial, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Return losses of the unchanged training, and the effect of each change on them.

    Args:
        probe: the trials.
        subject: what is trained.
        seed: of the task streams.
        progress: called with trainings done and in all.
    """
    total, done = (1 + len(probe.changes)) * probe.repeats, 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    engine = "eager" if subject.compute.batching == "loop" else "trace"
    subject = replace(subject, compute=replace(subject.compute, engine=engine))
    same = _trained(probe, subject, probe.outer_loop(), probe.steps, seed, advance)
    rows = [
        Row("outer_steps", of="unchanged", value=float(probe.steps)),
        row("loss", _mean(same.before.ravel(), LEVEL), of="at theta"),
        row("loss", _mean(same.after.mean(1), LEVEL), of="unchanged"),
        row("fall", _mean((same.before - same.after).mean(1), LEVEL), of="unchanged"),
    ]
    rows += _stopped(same, "unchanged", probe.repeats)
    cost = _cost(subject, probe.outer_loop(), seed)
    made = [(change, *apply_change(probe, subject, change)) for change in probe.changes]
    level = 1 - (1 - LEVEL) / max(sum(1 + _at_once(subject, each[1]) for each in made), 1)
    for change, changed, outer in made:
        steps = max(round(probe.steps * cost / _cost(changed, outer, seed)), 1)
        run = _trained(probe, changed, outer, steps, seed, advance)
        rows.append(Row("outer_steps", of=change, value=float(steps)))
        if (run.before != same.before).any():
            rows.append(_effect("effect_at_once", run.before - same.before, level, change))
        rows.append(_effect("effect", (run.after - same.after).mean(1), level, change))
        rows += _stopped(run, change, probe.repeats)
    progress(total, total)
    return [*rows, Row("level", value=level)]


def _trained(
    probe: Trial,
    subject: Subject,
    outer: OuterOptimizer,
    steps: int,
    seed: int,
    advance: Callable[[], None],
) -> Run:
    before, after, stopped = [], [], 0
    trainer = Trainer(subject, outer, steps, seed)
    for stream in range(probe.repeats):
        trainer = trainer.with_seed(seed + SEED_STEP * (stream + 1))
        before.append(trainer.held_out_losses(trainer.subject.theta))
        while trainer.step < steps and trainer.advance():
            pass
        stopped += trainer.failure is not None
        after.append(trainer.held_out_losses(trainer.theta))
        advance()
    return Run(subject, steps, np.array(before), np.array(after), stopped)


def _cost(subject: Subject, outer: OuterOptimizer, seed: int) -> float:
    """Return the operations of one outer step: of a task's meta-gradient, times B."""
    if not isinstance(subject.algorithm, Algorithm):
        return float(outer.batch)
    tasks = subject.draw(Address.fresh(0, 1), seed)
    algorithm, _ = subject.resolved(tasks)
    work = work_of(algorithm, subject.problem, subject.theta, first_task(tasks))
    return float((work.flops or work.operations) * outer.batch)


def _at_once(subject: Subject, changed: Subject) -> bool:
    """Return whether a change alters the loss after adaptation before any outer step."""
    return changed is not subject


def _effect(quantity: str, differences: Losses, level: float, change: str) -> Row:
    return row(quantity, _mean(differences.ravel(), level), of=change)


def _stopped(run: Run, name: str, streams: int) -> list[Row]:
    if not run.stopped:
        return []
    return [Row("stopped", of=name, value=run.stopped / streams, status="diverged")]


def _mean(values: Losses, level: float) -> Interval:
    """Return a mean with Student's t interval; NaN if a value is not finite."""
    if not np.isfinite(values).all():
        return Interval(math.nan, math.nan, math.nan)
    n, center = len(values), float(values.mean())
    reach = t_quantile(n - 1, level) * float(values.std(ddof=1)) / math.sqrt(n)
    return Interval(center, center - reach, center + reach)
