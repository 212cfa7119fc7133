"""The finding that compares the inner rate with those that theory and curvature allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

GIVEN = "own"  # values of `of`
MANY_STEPS = "many steps, 1 / (K L)"
ONE_STEP = "one step, 1 / (6 L)"
WORDS = {
    ONE_STEP: "at most 1 / (6 L) =",
    MANY_STEPS: "order 1 / (K L) (Ji, Yang & Liang, 2022), here at most",
}
HALF_STABLE, MOST_STABLE = "stable for 50 % of tasks", "stable for 95 % of tasks"


def rate_findings(table: pd.DataFrame) -> list[Finding]:
    """Return the finding that compares the inner rate with the theory's and the stable rate.

    That is 1 / (6 L) for one inner step, and 1 / (K L) for many.
    """
    rows = {row.of: row for row in from_table(table, "rate", of=None)}
    steps = from_table(table, "assumption", of="K = 1")
    allowed = ONE_STEP if steps and steps[0].value == 1 else MANY_STEPS
    if not {GIVEN, allowed, HALF_STABLE} <= rows.keys():
        return []
    given, many, stable = rows[GIVEN], rows[allowed], rows[HALF_STABLE]
    if given.value is None or many.value is None:
        return []
    factor, most = from_table(table, "path_factor"), rows.get(MOST_STABLE)
    evidence = (given, many, stable, *([] if most is None else [most]), *factor)
    claim = _rates_text(table, allowed, rows)
    if given.value <= many.value:
        return [Finding("inner_rate", "info", "", claim, "", evidence)]
    if allowed == MANY_STEPS and factor and factor[0].value is not None:
        claim += (
            f" The factor (1 + alpha L)^(2 K) of its bounds is at least {number(factor[0].value)}."
        )
    level, repair = _level_and_repair(given.value, stable)
    state = _state(given.value, stable, most, level)
    return [Finding("inner_rate", level, state, claim, repair, evidence)]


def _rates_text(table: pd.DataFrame, allowed: str, rows: dict[str, Row]) -> str:
    """Return the rate in use beside those that theory and curvature allow."""
    given, many, stable = rows[GIVEN], rows[allowed], rows[HALF_STABLE]
    larger = "larger" if (given.value or 0.0) > (many.value or 0.0) else "not larger"
    limit = "any rate" if stable.value is None else number_with_interval(stable)
    return (
        f"At K = {_steps(table)}, the theory needs an inner rate of {WORDS[allowed]} "
        f"{number(many.value)}. Yours, {number(given.value)}, is {larger}. By the curvature at "
        f"theta, the inner loop is stable for half of the tasks below {limit}"
        f"{_for_most(rows.get(MOST_STABLE))}."
    )


def _state(rate: float, stable: Row, most: Row | None, level: str) -> str:
    """Return fine where 95 % of tasks are shown to be stable, "" where half of them are."""
    free = stable.value is None and stable.status == "unbounded"
    if free or (most is not None and (most.low or 0.0) > rate):
        return "fine"
    if level == "warning":
        return "fault"
    return "" if stable.low is not None and rate < stable.low else "undecided"


def _for_most(most: Row | None) -> str:
    if most is None or most.value is None:
        return ""
    return f", for 95 % of them below {number_with_interval(most)}"


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
    return (
        "warning",
        f"Lower the inner rate below {safe}, where the inner loop is stable for half of the tasks.",
    )


def number_with_interval(row: Row) -> str:
    """Return a number with its interval, where it has one."""
    if row.low is None and row.high is None:
        return number(row.value)
    return f"{number(row.value)} {interval(row)}"
