"""What the checks note about the model and the sampler, without an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.algorithms.base import Algorithm
from metabench.problems.networks.module_call import ModuleCall
from metabench.problems.networks.plain_attention import calls_attention
from metabench.problems.state_between_calls import call_of
from metabench.problems.tasks import Task
from metabench.records.rows import Row

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

ATTENTION = (
    "Attention is computed by torch's math kernel, because its fused kernels have no second "
    "derivative."
)


def model_and_sampler_rows(subject: Subject, task: Task) -> list[Row]:
    """Return rows for fused norms, changes made to the model, and missing redraws."""
    call = call_of(subject.problem, subject.theta, task)
    notes = (*subject.problem.notes, *_attention_notes(subject, task), *_copy_notes(call))
    return [
        *_broadcast(call),
        *(Row("fused_norm", of=name, status="warning") for name in subject.problem.fused),
        *(Row("changed", of=note, status="info") for note in notes),
        *(Row("looped", of=why, status="info") for why in (subject.compute.looped_because,) if why),
        *(Row("unavailable", of=why, status="withheld") for why in subject.withheld),
    ]


def _attention_notes(subject: Subject, task: Task) -> tuple[str, ...]:
    """Return a note if the inner loss calls torch's attention."""
    problem, theta = subject.problem, subject.theta
    if not isinstance(subject.algorithm, Algorithm):
        return ()
    phi = problem.init(theta)
    called = calls_attention(lambda: problem.inner_loss(phi, theta, task.support))
    return (ATTENTION,) if called else ()


def _copy_notes(call: ModuleCall | None) -> tuple[str, ...]:
    """Return a note if a module or loss changes its data in place."""
    if call is None or not call.writes:
        return ()
    return (
        f"The module or the loss changes {' and '.join(call.writes)} in place, so each call gets "
        "copies: every inner step sees the data as the sampler gives them.",
    )


def _broadcast(call: ModuleCall | None) -> list[Row]:
    """Return a row if the loss broadcasts prediction and y to more entries than either has."""
    if call is None or not call.broadcast:
        return []
    return [Row("broadcast", of=call.broadcast, status="warning")]
