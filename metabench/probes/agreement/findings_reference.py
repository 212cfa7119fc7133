"""Findings on the reference of errors: is there an inner minimum, and was it found?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import number, percents
from metabench.records.rows import Finding, from_table

if TYPE_CHECKING:
    import pandas as pd

LEAST_FOUND = 0.5  # share of tasks with an inner minimum, shown to be below which none is ranked


def saddles(table: pd.DataFrame) -> list[Finding]:
    """Report negative curvature of the inner objective where the loop ends."""
    hits = [r for r in from_table(table, "saddles") if (r.low or 0) > 0]
    if not hits:
        return []
    last = hits[-1]
    least = min(r.value or 0 for r in from_table(table, "least_curvature"))
    (strength,) = from_table(table, "proximal_strength")
    claim = (
        f"At lambda = {number(strength.value)} the inner objective has negative curvature at "
        f"phi_{last.at:.0f} in {percents(last)} of tasks (smallest curvature found "
        f"{number(least)}). There phi_{last.at:.0f} is not a minimum, and the implicit gradient "
        "is undefined."
    )
    reached = not any(row.value for row in from_table(table, "diverged", of=None))
    above = f" above {number((strength.value or 0) - least)}" if reached else ""
    repair = f"Raise lambda{above} (--set probe.proximal_strength=...)."
    return [Finding("saddles", "warning", "fault", claim, repair, (*hits, strength))]


def has_reference(table: pd.DataFrame) -> bool:
    """Whether the inner minimum was found in enough tasks for errors to refer to it."""
    found = from_table(table, "minimum_found")
    return not found or found[0].high is None or found[0].high >= LEAST_FOUND


def minimum(table: pd.DataFrame) -> list[Finding]:
    """Report tasks in which the descent did not reach a minimum, and what that means."""
    (found,) = from_table(table, "minimum_found")
    (norm,) = from_table(table, "gradient_norm_at_minimum")
    if found.high is None or found.high >= 1.0:
        return []
    claim = (
        f"Gradient descent found the inner minimum in {percents(found)} of tasks (median "
        f"|grad G| / |g| where it ends: {number(norm.value)}). "
    )
    claim += (
        "Errors with respect to the gradient at the minimum may be too small."
        if has_reference(table)
        else "So few minima are no reference: methods are not ranked by their error, and errors in "
        "the table refer to where the descent ended."
    )
    repair = (
        "Take more steps (--set probe.minimum_steps=...) or raise lambda (--set "
        "probe.proximal_strength=...)."
    )
    return [Finding("minimum_not_found", "warning", "fault", claim, repair, (found, norm))]
