"""The statuses of a row, and their meanings."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.settings.errors import unknown

STATUSES = {
    # of a number
    "ok": "The number is there, and is what its name says.",
    "diverged": "A meta-gradient, loss or iterate was not finite, so there is no number.",
    "exploded": "A training's meta-gradient grew beyond use, though it is finite.",
    "overflow": "The numbers were finite; what follows from them is beyond the largest float.",
    "out of memory": "It did not fit into the memory there is.",
    "unbounded": "An end of the interval, or the number, is infinite.",
    "unresolved": "Not distinguishable from zero, or there are too few tasks to tell.",
    "degenerate": "Nothing varied, so the quantity is undefined.",
    "zero": "Zero by construction, so there is no interval.",
    "withheld": "An assumption of the quantity does not hold here, so it was not computed.",
    "not_redrawable": "The sampler can't redraw this source alone.",
    "redraw_not_independent": "What was to change alone changes something else too.",
    "tasks_interact": "A task's meta-gradient depends on the tasks computed beside it.",
    "refuted": "It contradicts a theory (99.9 % interval) or what an algorithm claims of itself.",
    "at least": "A lower bound of a supremum, or of what follows from one; there is no interval.",
    "at most": "An upper bound, which follows from a lower bound of a supremum; no interval.",
    "never_reached": "It happens at none of the steps that were taken.",
    "unreached": "It does not happen within the steps that were taken.",
    "not_converged": "The iteration that computes the number has not converged.",
    "reduced": "As asked, it does not fit into memory; the row says what was taken.",
    # of an assumption of a theory
    "holds": "The assumption is true of this problem.",
    "violated": "The assumption is false of this problem.",
    "not refuted": "Nothing measured contradicts the assumption.",
    "open": "The assumption was not or could not be tested.",
    # of a check of the meta-gradient
    "approximate": "The deviation is that of a declared approximation, no error.",
    "reduced_precision": "The loss resolves too little to be compared by differences.",
    "imprecise": "The deviation is round-off beyond what the check allows.",
    "kink": "The loss or its gradient has a kink here, so the derivative asked for is undefined.",
    "mismatch": "The estimate of an inexact algorithm departs from the derivative.",
    "misreported": "A linear solver's residual is not the one that it reports.",
    "not finite": "The estimate is not finite.",
    "random": "Two calls with the same arguments differ.",
    "saddle": "The curvature is not positive, so an implicit gradient is undefined.",
    "sum": "A batch gives the sum over tasks in place of their mean.",
    "unsolved": "A linear solver's residual is too large.",
    "wrong": "The deviation is larger than the check's error bound.",
    # of a fact that is no number
    "differs": "Theta was trained with another value of this setting.",
    "info": "Something was changed in order to measure; `of` or the quantity says what.",
    "warning": "A known limitation applies.",
}


def check_statuses(statuses: Iterable[str]) -> None:
    """Check that every word is a status.

    Raises:
        InvalidInput: naming the nearest one.
    """
    for status in dict.fromkeys(statuses):
        if status not in STATUSES:
            raise unknown("status", status, STATUSES, " of a row")


def outcome_of(statuses: Iterable[str]) -> str:
    """Return `diverged` if any row is, else `ok`.

    >>> outcome_of(["ok", "diverged"]), outcome_of(["ok", "zero"])
    ('diverged', 'ok')
    """
    return "diverged" if "diverged" in set(statuses) else "ok"
