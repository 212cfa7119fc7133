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
    if not {OWN, MANY, HALF} <= rows.keys():
        return []
    own, many, stable = rows[OWN], rows[MANY], rows[HALF]
    if own.value is None or many.value is None:
        return []
    factor = from_table(table, "path_factor")
    evidence = (own, many, stable, *factor)
    limit = "any" if stable.value is None else told(stable)
    claim = (
        f"For K = {_steps(table)} steps the theory asks an inner rate of order 1 / (K L), "
        f"{number(many.value)} at most; yours is {own.value:g}, and half the tasks are stable up "
        f"to {limit}."
    )
    if own.value <= many.value:
        return [Finding("many_steps", "info", "", claim, "Nothing to change.", evidence)]
    if factor and factor[0].value is not None:
        claim += f" Its factor (1 + alpha L)^(2 K) is {number(factor[0].value)} at least."
    level, repair = _advice(own.value, stable)
    inside = stable.low is not None and own.value < stable.low
    state = "fault" if level == "warning" else "fine" if inside else "undecided"
    return [Finding("many_steps", level, state, claim, repair, evidence)]


def _steps(table: pd.DataFrame) -> str:
    found = from_table(table, "assumption", of="K = 1")
    return number(found[0].value if found else None)


def _advice(rate: float, stable: Row) -> tuple[str, str]:
    """Warn of a rate beyond which half the tasks surely aren't stable."""
    if stable.high is None or rate <= stable.high:
        said = "Nothing to change: the rate is inside what curvature allows, which is what counts."
        return "info", said
    safe = number(stable.low or stable.value)
    return "warning", f"Lower the inner rate below {safe}, where tasks are stable."


def told(row: Row) -> str:
    """Write a number with its interval, where there is one."""
    if row.low is None and row.high is None:
        return number(row.value)
    return f"{number(row.value)} {interval(row)}"
