"""Estimates of many tasks, by vmap or one after another, and whether both agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from metabench.algorithms.base import MetaGrad
from metabench.autodiff.vmap_trial import is_slow, reason, vmap_failure
from metabench.estimation.explained_errors import explained
from metabench.estimation.vectorization import Vectorization
from metabench.probes.verify.limits import VMAP
from metabench.probes.verify.measure_round_off import check, withheld, worst
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject


def with_batching(subject: Subject, tasks: Task) -> Subject:
    """Return the subject, with tasks one after another if `auto` finds that vmap fails on them.

    Raises:
        InvalidInput: if vmap was asked for and fails.
    """
    if subject.algorithm.loops or batching_of(subject) == "loop":
        return subject
    failed = vmap_failure(lambda: estimates(subject, tasks, "vmap"))
    if failed is None:
        return subject
    if subject.compute.batching == "auto":
        return replace(subject, compute=subject.compute.looped(reason(failed)))
    if not is_slow(failed):
        with explained("vmap"):
            raise failed
    return subject


def batching_of(subject: Subject) -> str:
    """Return vmap unless a loop was asked for: `auto` chooses vmap for all but large tasks."""
    return "loop" if subject.compute.batching == "loop" else "vmap"


def estimates(subject: Subject, tasks: Task, how: str) -> MetaGrad:
    """Return the estimates of the tasks, with a leading T.

    Args:
        subject: whose algorithm is called, eagerly.
        tasks: T tasks.
        how: "vmap" or "loop".
    """
    how = "loop" if subject.algorithm.loops else how
    compute = Vectorization(how, subject.compute.chunk)
    result: MetaGrad = compute.per_task(
        lambda theta, task: subject.algorithm(subject.problem, theta, task)
    )(subject.theta, tasks)
    return result


def vmap_against_a_loop(subject: Subject, tasks: Task, looped: MetaGrad) -> Row:
    """Return the check of vmapped estimates against looped ones.

    Args:
        subject: at a theta in float64.
        tasks: T tasks.
        looped: their estimates by a loop.
    """
    try:
        together = estimates(subject, tasks, "vmap")
    except RuntimeError:  # torch has a rule for the kernels of lower precision alone
        return withheld(VMAP)
    return check(VMAP, worst(together.grad, looped.grad))
