"""Findings on checks that could not decide, and on numbers that are not finite."""

from __future__ import annotations

from metabench.probes.verify.limits import DIFFERENCES, MEAN, PRECISION, REPEATED, UNROLL
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, Rows, from_table

MOST_PLACES_NAMED = 3
DECIDED = ("ok", "approximate")
SAME_CODE = (REPEATED, PRECISION, MEAN)  # of the same code again

AT_START = (
    "The inner rate has no part in it. Look at what this operation gets: a logarithm or division "
    "of 0, a root or norm at 0, whose derivative is infinite, a row that is masked whole. Keep it "
    "away from there inside the function: sqrt(x + 1e-12), and torch.where on the argument, since "
    "torch.where on the result still passes NaN in the gradient."
)


def not_finite(table: Rows, checks: list[Row]) -> list[Finding]:
    """Return the finding on a meta-gradient that is not finite, unless a check blames a solver."""
    rows = from_table(table, "not_finite", of=None)
    whole = [row for row in rows if row.of == "meta-gradient"]
    if not whole or any(row.status == "not finite" for row in checks):
        return []
    share = f"{100 * (whole[0].value or 0):.3g} %"
    claim = f"The meta-gradient is not finite on {share} of the tasks that were checked."
    given = [row for row in rows if row.of != "meta-gradient"]
    start = from_table(table, "not_finite_at_start", of=None)
    repair = (
        "Lower the inner rate (--set algo.inner_optimizer.rate=...), or take fewer inner steps."
    )
    if start:
        claim, repair = f"{claim} {_at_start(start[0])}", AT_START
    if given:
        places = [_place(row) for row in given]
        more = (
            f" and {len(places) - MOST_PLACES_NAMED} more"
            if len(places) > MOST_PLACES_NAMED
            else ""
        )
        claim += f" Not finite in the input: {', '.join(places[:MOST_PLACES_NAMED])}{more}."
        theta = any(row.of.startswith("theta") for row in given)
        repair = (
            "Give a theta from before the training diverged (--theta FILE)."
            if theta
            else "Remove or repair these examples in the sampler."
        )
    return [Finding("not_finite", "critical", "fault", claim, repair, (*rows, *start))]


def _at_start(row: Row) -> str:
    return (
        f"Not finite before any inner step, at phi_0 of task {row.at or 0:.0f}, though theta and "
        f"the task are: the {row.of}."
    )


def _place(row: Row) -> str:
    if row.at is None:
        return f"theta, layer `{row.of.removeprefix('theta: ')}`"
    return f"task {row.at:.0f}, {row.of}"


def unresolved(checks: list[Row], shorter: list[Row]) -> list[Finding]:
    """Return the finding on checks whose differences round-off can make.

    Args:
        checks: over all inner steps.
        shorter: the check over fewer inner steps, where it decides.
    """
    rows = [row for row in checks if row.status == "unresolved"]
    if not rows:
        return []
    parts = ", ".join(f"{row.of} ({_difference(row)})" for row in rows)
    claim = f"Undecided, since round-off of the loss can explain the difference: {parts}."
    recursion = [row for row in checks if row.of == UNROLL and row.status == "ok"]
    if recursion:
        claim += " The backward pass through the inner loop equals autograd's."
    found = [_shorter_sentence(row) for row in shorter]
    claim += "".join(found)
    if any(row.status == "wrong" for row in shorter):
        repair = "Find the fault over so few steps first: look for detach(), .data and no_grad()."
        return [Finding("check_shorter", "critical", "fault", claim, repair, (*rows, *shorter))]
    repair = (
        "To decide it, compute the loss in float64 (look for .float(), .half() and autocast), take "
        "fewer inner steps, or a smaller inner rate."
    )
    return [Finding("undecided", "info", "undecided", claim, repair, tuple(rows))]


def _shorter_sentence(row: Row) -> str:
    """Say what the check by finite differences gives over fewer inner steps."""
    at, error = number(row.at or 0), number(row.value or 0)
    if row.status == "wrong":
        return f" At K = {at} the meta-gradient is wrong, by {error} (finite differences)."
    return f" At K = {at} it is right: finite differences agree to {error}."


def _difference(row: Row) -> str:
    if row.value is None:
        return "no step resolves it"
    end = "" if row.high is None else f", round-off up to {number(row.high)}"
    return f"relative difference {number(row.value)}{end}"


def nothing_independent(checks: list[Row]) -> list[Finding]:
    """Return a warning where nothing beyond a repeated call could be checked."""
    if not checks or any(row.of not in SAME_CODE and row.status in DECIDED for row in checks):
        return []
    if any(row.of == DIFFERENCES and row.status in ("open", "sampled") for row in checks):
        return []  # the gradient of no loss, by design, or of samples
    names = ", ".join(f"{row.of} ({row.status})" for row in checks if row.status not in DECIDED)
    claim = (
        "The meta-gradient could not be checked independently of the code that computes it. Not "
        f"decided: {names}."
    )
    repair = (
        "Return (loss, gradient) from a black box; or verify at another theta or in float64, where "
        "finite differences of the loss can check it."
    )
    return [Finding("unchecked", "warning", "not_looked_at", claim, repair, tuple(checks))]
