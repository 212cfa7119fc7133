"""What each way in which a check fails means, and what to change."""

from __future__ import annotations

from typing import NamedTuple

from metabench.records.rows import Row


class Failure(NamedTuple):
    """A claim, in which {off} is by how much and {of} what was checked; a repair; a level."""

    claim: str
    repair: str
    level: str


def said_of(row: Row) -> Failure:
    """Say what a failed check means."""
    found = FAILURES.get(row.status, WRONG)
    return found._replace(claim=found.claim.format(off=f"{row.value or 0:.2g}", of=row.of))


FAILURES = {
    "mismatch": Failure(
        "The estimator is not the gradient of the loss it reports: off by {off} of it along "
        "random directions, against finite differences.",
        "Nothing, if it is first order (FOMAML, Reptile) on purpose; otherwise look for "
        "detach(), .data, torch.no_grad() and a missing create_graph=True.",
        "warning",
    ),
    "random": Failure(
        "Two calls on the same tasks differ by {off}.",
        "Fix what draws random numbers: dropout (net.eval()), a generator, the data's order.",
        "critical",
    ),
    "reduced_precision": Failure(
        "The loss doesn't notice a change of theta that moves it by {off} of itself, so some "
        "of it is computed in float16 or bfloat16, and small meta-gradients are lost.",
        "Look for .half(), .bfloat16() and autocast; keep the inner loop in float32.",
        "critical",
    ),
    "not finite": Failure(
        "The loss is finite and the estimator's meta-gradient isn't.",
        "Look for a division by zero: a linear solver without a guard for a right-hand side of "
        "0, a square root or norm at 0; or lower the inner rate, if it overflows.",
        "critical",
    ),
    "imprecise": Failure(
        "Precision: the meta-gradient differs from its float64 value by {off} of it.",
        "Measure with --dtype float64, or take fewer or shorter inner steps.",
        "warning",
    ),
    "unsolved": Failure(
        "The implicit gradient's linear solve leaves a residual of {off}.",
        "Take more steps of the solver (--set algo.solver.steps=...) or a stronger pull.",
        "warning",
    ),
    "misreported": Failure(
        "The linear solver's answer leaves a residual of {off}, which isn't what it claims.",
        "Measure |A x - b| / |b| at the x that is returned, or take a solver of metabench.",
        "critical",
    ),
    "sum": Failure(
        "The batched estimator gives the sum over tasks, not the mean, so that its variance "
        "grows with the batch.",
        "Divide by the number of tasks.",
        "critical",
    ),
    "tasks_interact": Failure(
        "The batched estimator is not the mean over its tasks: off by {off}.",
        "Nothing, if it shares statistics between tasks on purpose; otherwise a task leaks.",
        "warning",
    ),
}
WRONG = Failure(
    "The meta-gradient is wrong: {of} disagree by {off}.",
    "Look for operations with a derivative of their own (torch.autograd.Function), detach() "
    "or .data in the model or loss.",
    "critical",
)
