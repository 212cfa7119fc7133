"""The statuses of a row, and their meanings."""

from __future__ import annotations

from collections.abc import Iterable

from metabench.settings.errors import unknown

STATUSES = {
    # of a number
    "ok": "The number was computed, and is what its name says.",
    "diverged": "A meta-gradient, loss or iterate was not finite, so there is no number.",
    "exploded": "The meta-gradient of a training run is finite, but too large to be of use.",
    "overflow": "The measured numbers are finite, but what is computed from them overflows.",
    "out of memory": "The computation did not fit into memory.",
    "out of time": "The time budget ended before it was measured.",
    "unbounded": "An end of the interval, or the number, is infinite.",
    "unresolved": "Not distinguishable from zero, or there are too few tasks to tell.",
    "degenerate": "Nothing varied, so the quantity is undefined.",
    "zero": "Zero by construction, so there is no interval.",
    "declared": "An algorithm declares it of itself; `verify` checks it.",
    "no_reference": "The algorithm names no exact estimator of the same objective.",
    "withheld": "An assumption of the quantity does not hold here, so it was not computed.",
    "not_redrawable": "The sampler can't redraw this source alone.",
    "redraw_not_independent": "A redraw of this source also changes other draws.",
    "tasks_interact": (
        "A task's meta-gradient depends on the tasks that are computed together with it."
    ),
    "refuted": "The number contradicts a theory, an assumption or an algorithm's own claim.",
    "at least": "A lower bound of a supremum or of a number computed from one; no interval.",
    "at most": "An upper bound, computed from a lower bound of a supremum; no interval.",
    "never_reached": "The event happens at none of the steps that were taken.",
    "unreached": "The goal was not reached within the steps that were taken.",
    "not_converged": "The iteration that computes the number has not converged.",
    "reduced": "The requested setting does not fit into memory; the row gives what was used.",
    # of an assumption of a theory
    "holds": "The assumption is true of this problem.",
    "violated": "The assumption is false of this problem.",
    "not refuted": "Nothing measured contradicts the assumption.",
    "open": "The assumption was not or could not be tested.",
    # of a check of the meta-gradient
    "approximate": "The deviation is that of a declared approximation, not an error.",
    "reduced_precision": "The loss has too few correct digits for finite differences.",
    "imprecise": "The round-off error is larger than the check allows.",
    "kink": "The loss or its gradient has a kink here, so the derivative asked for is undefined.",
    "mismatch": "The estimate of an inexact algorithm departs from the derivative.",
    "misreported": "The residual that a linear solver reports is wrong.",
    "not finite": "The estimate is not finite.",
    "not implemented": "The estimate differs from that of the algorithm it is meant to be.",
    "random": "Two calls with the same arguments differ.",
    "sampled": "The loss draws samples that change with theta; finite differences can't judge it.",
    "biased": "The mean over samples is not that of an unbiased estimate, on fresh samples too.",
    "saddle": "The curvature is not positive, so an implicit gradient is undefined.",
    "sum": "A batch gives the sum over tasks instead of their mean.",
    "unsolved": "A linear solver's residual is too large.",
    "wrong": "The deviation is larger than the check's error bound.",
    # of a fact that is no number
    "differs": "Theta was trained with another value of this setting.",
    "info": "Something was changed for the measurement; `of` or the quantity says what.",
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
