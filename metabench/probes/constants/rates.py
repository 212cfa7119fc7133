"""The inner rates that theory and curvature allow, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

OWN = "own"
MANY = "many steps, 1 / (K L)"
ONE = "one step, 1 / (6 L)"
HALF = "stable for 50 % of tasks"


def rate_findings(table: pd.DataFrame) -> list[Finding]:
    """Hold the inner rate against 1 / (K L) and against the rate that curvature allows."""
    rows = {row.of: row for row in from_table(table, "rate", of=None)}
    if OWN not in rows or MANY not in rows or HALF not in rows:
        return []
    own, many, stable = rows[OWN], rows[MANY], rows[HALF]
    if own.value is None or many.value is None:
        return []
    steps = next((r for r in from_table(table, "assumption", of="K = 1")), None)
    K = number(steps.value if steps else None)
    limit = "any" if stable.value is None else told(stable)
    claim = (
        f"For K = {K} steps the theory asks an inner rate of order 1 / (K L), {number(many.value)} "
        f"at most; yours is {own.value:g}, and half the tasks are stable up to {limit}."
    )
    factor = from_table(table, "path_factor")
    evidence = (own, many, stable, *factor)
    if own.value <= many.value:
        return [Finding("many_steps", "info", claim, "Nothing to change.", evidence)]
    if factor and factor[0].value is not None:
        claim += f" Its factor (1 + alpha L)^(2 K) is {number(factor[0].value)} at least."
    past = stable.high is not None and own.value > stable.high
    repair = (
        f"Lower the inner rate below {number(stable.low or stable.value)}, where tasks are stable."
        if past
        else "Nothing to change: the rate is inside what curvature allows, which is what counts."
    )
    return [Finding("many_steps", "warning" if past else "info", claim, repair, evidence)]


def told(row: Row) -> str:
    """Write a number with its interval, where there is one."""
    if row.low is None and row.high is None:
        return number(row.value)
    return f"{number(row.value)} {interval(row)}"
