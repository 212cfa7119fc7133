"""What each status of a failed check means, and what to change."""

from __future__ import annotations

from typing import NamedTuple

from metabench.records.rows import Row


class Failure(NamedTuple):
    """The claim, repair and level of a failed check; {off} is its relative error, {of} its name."""

    claim: str
    repair: str
    level: str


def failure_of(row: Row) -> Failure:
    """Return the claim, with the row's numbers filled in, the repair and the level."""
    found = FAILURES.get(row.status, WRONG)
    return found._replace(claim=found.claim.format(off=f"{row.value or 0:.2g}", of=row.of))


FAILURES = {
    "mismatch": Failure(
        "The estimator is not the gradient of the loss it reports: finite differences along random "
        "directions disagree by {off} (relative error).",
        "A first-order estimator (FOMAML, Reptile) differs by design; otherwise look for "
        "detach(), .data, torch.no_grad() and a missing create_graph=True.",
        "warning",
    ),
    "random": Failure(
        "Two calls on the same tasks differ by {off} (relative error).",
        "Make the call deterministic: turn off dropout (net.eval()), seed generators, fix the "
        "order of the data.",
        "critical",
    ),
    "reduced_precision": Failure(
        "The loss stays the same under a change of theta that should move it by {off} (relative), "
        "so part of it is computed in float16 or bfloat16, and small meta-gradients are lost.",
        "Look for .half(), .bfloat16() and autocast; keep the inner loop in float32.",
        "critical",
    ),
    "not finite": Failure(
        "The loss is finite, but the estimator's meta-gradient is not.",
        "Look for a division by zero: a linear solver without a guard for a right-hand side of "
        "0, or a square root or norm at 0. If it overflows, lower the inner rate.",
        "critical",
    ),
    "imprecise": Failure(
        "The meta-gradient differs from its float64 value by {off} (relative error).",
        "Measure with --dtype float64, or take fewer or smaller inner steps.",
        "warning",
    ),
    "unsolved": Failure(
        "The linear solve of the implicit gradient leaves a relative residual of {off}.",
        "Take more solver steps (--set algo.solver.steps=...), or raise the proximal strength "
        "(--set algo.proximal_strength=...). If more steps leave as much, the solver is at fault.",
        "warning",
    ),
    "misreported": Failure(
        "The linear solver reports a wrong residual; recomputed, it is {off}.",
        "Report |A x - b| / |b| at the returned x, or use one of metabench's solvers.",
        "critical",
    ),
    "not implemented": Failure(
        "The estimator is not the algorithm that it is said to implement: the {of} differs by "
        "{off} (relative error).",
        "Compare the number of inner steps, the inner rate, the reduction of the loss and the data "
        "of both, in that order.",
        "critical",
    ),
    "sum": Failure(
        "The batched estimator returns the sum over tasks, not the mean, so its variance grows "
        "with the batch.",
        "Divide by the number of tasks.",
        "critical",
    ),
    "tasks_interact": Failure(
        "The batched estimator differs from the mean over its tasks by {off} (relative error).",
        "If tasks share statistics by design, this is expected; otherwise look for data of one "
        "task that enters another, and for tasks whose gradient is lost: a detached copy of theta, "
        "or zero_grad() within the loop over tasks.",
        "warning",
    ),
}
WRONG = Failure(
    "The meta-gradient is wrong: the check '{of}' fails with a relative error of {off}.",
    "Look for custom derivatives (torch.autograd.Function), detach() and .data in the model or "
    "loss.",
    "critical",
)
