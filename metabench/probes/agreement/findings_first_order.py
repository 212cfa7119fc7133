"""The finding on the first-order meta-gradient: its angle to the unrolled one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.curves import by_method
from metabench.probes.wording import interval, number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

LEAST_COSINE = 0.9  # of first order, below which it is a fault


def first_order(table: pd.DataFrame) -> list[Finding]:
    """Judge the first-order meta-gradient at the algorithm's K, or where it is worst."""
    cosines = by_method(table, "cosine_unrolled").get("fomaml", {})
    known = [r for r in cosines.values() if r.low is not None and r.high is not None]
    if not known:
        return []
    own = {r.value for r in from_table(table, "own_steps", of=None)}
    worst = min(known, key=lambda r: r.value or 1)
    here = next((r for r in known if r.at in own), worst)
    error = by_method(table, "error_unrolled")["fomaml"][int(here.at or 0)]
    claim = _first_order_text(here, worst, error, here.at in own)
    state = _cosine_state(here)
    bad = state == "fault"
    repair = {
        "fault": "Use the unroll or an implicit gradient at this K.",
        "fine": "",
        "undecided": f"Measure more tasks (--tasks): the interval includes {LEAST_COSINE:g}.",
    }[state]
    rows = (here,) if here is worst else (here, worst)
    return [Finding("first_order", "warning" if bad else "info", state, claim, repair, rows)]


def _cosine_state(cosine: Row) -> str:
    """Return whether the whole interval of a cosine lies above the least, or below."""
    if (cosine.high or 1) < LEAST_COSINE:
        return "fault"
    return "fine" if (cosine.low or 0) > LEAST_COSINE else "undecided"


def _first_order_text(here: Row, worst: Row, error: Row, own: bool) -> str:
    """Return the cosine at the K that is judged, and at the worst one."""
    text = (
        f"At {'your ' if own else ''}K = {here.at:.0f} the mean first-order meta-gradient has a "
        f"cosine of {number(here.value)} {interval(here)} to the unrolled one; the median relative "
        f"error is {percents(error)}."
    )
    if worst.at == here.at:
        return text
    return (
        f"{text} The smallest cosine, {number(worst.value)} {interval(worst)}, is that at K = "
        f"{worst.at:.0f}."
    )
