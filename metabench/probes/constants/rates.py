"""The finding that compares the inner rate with those that theory and curvature allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

GIVEN = "own"  # values of `of`
MANY_STEPS = "many steps, 1 / (K L)"
HALF_STABLE = "stable for 50 % of tasks"


def rate_findings(table: pd.DataFrame) -> list[Finding]:
    """Return the finding that compares the inner rate with 1 / (K L) and the stable rate."""
    rows = {row.of: row for row in from_table(table, "rate", of=None)}
    if not {GIVEN, MANY_STEPS, HALF_STABLE} <= rows.keys():
        return []
    given, many, stable = rows[GIVEN], rows[MANY_STEPS], rows[HALF_STABLE]
    if given.value is None or many.value is None:
        return []
    factor = from_table(table, "path_factor")
    evidence = (given, many, stable, *factor)
    limit = "any rate" if stable.value is None else number_with_interval(stable)
    claim = (
        f"At K = {_steps(table)}, the theory needs an inner rate of order 1 / (K L), "
        f"at most {number(many.value)}. Yours is {given.value:g}; half of the tasks are stable "
        f"below {limit}."
    )
    if given.value <= many.value:
        return [Finding("many_steps", "info", "", claim, "", evidence)]
    if factor and factor[0].value is not None:
        claim += (
            f" The factor (1 + alpha L)^(2 K) of its bounds is at least {number(factor[0].value)}."
        )
    level, repair = _level_and_repair(given.value, stable)
    free = stable.value is None and stable.status == "unbounded"
    inside = free or (stable.low is not None and given.value < stable.low)
    state = "fault" if level == "warning" else "fine" if inside else "undecided"
    return [Finding("many_steps", level, state, claim, repair, evidence)]


def _steps(table: pd.DataFrame) -> str:
    found = from_table(table, "assumption", of="K = 1")
    return number(found[0].value if found else None)


def _level_and_repair(rate: float, stable: Row) -> tuple[str, str]:
    """Return a warning if the rate is above the interval of the stable rate of half the tasks."""
    if stable.low is not None and rate < stable.low:
        return "info", ""
    if stable.value is None and stable.status == "unbounded":
        return "info", ""
    if stable.high is None or rate <= stable.high:
        return "info", "Measure more tasks (--set probe.hessians=...) to decide."
    safe = number(stable.low or stable.value)
    return "warning", f"Lower the inner rate below {safe}, where half of the tasks are stable."


def number_with_interval(row: Row) -> str:
    """Return a number with its interval, where it has one."""
    if row.low is None and row.high is None:
        return number(row.value)
    return f"{number(row.value)} {interval(row)}"
