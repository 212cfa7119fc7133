"""Findings on what sampling biases in the meta-gradient, and on dead inner Hessians."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

DEAD = 0.05  # of the Hessian's norm: a mean shown to be smaller is none
PARTS = {
    "reuse": (
        "reuse of the samples that made the step",
        "Draw other trajectories for the Hessian, or more of them.",
    ),
    "hessian": (
        "the Hessian's own bias",
        "Use a surrogate with an unbiased Hessian (--set family.surrogate=loaded_dice).",
    ),
    "compositional": (
        "the nonlinearity of adaptation in its noise",
        "Draw more trajectories for the inner steps (--set family.shots=...): it falls as 1/N.",
    ),
}
WITHHELD = (
    "The loss samples, so there is no inner minimum to compare methods at, and its expected losses "
    "(or its inner loop) aren't known, so its bias is not computed either."
)


def of_sampling(table: pd.DataFrame) -> list[Finding]:
    """Return findings on the parts of the bias and on the inner Hessian."""
    rows = from_table(table, "sampling_bias", of=None)
    if rows and rows[0].status == "withheld":
        repair = "Give Problem(..., expected_inner_loss=, expected_outer_loss=) if they are known."
        return [Finding("withheld", "info", "not_looked_at", WITHHELD, repair, tuple(rows))]
    return [*_bias(table, rows), *_hessian(table)]


def _bias(table: pd.DataFrame, rows: list[Row]) -> list[Finding]:
    by = {row.of: row for row in rows}
    whole = from_table(table, "expected_norm", of=None)
    if any(row.value is None for row in (*rows, *whole)):
        claim = "The meta-gradient is not finite on some tasks, so its bias is not computed."
        repair = "Lower the inner rate (--set algo.inner_optimizer.rate=...)."
        return [Finding("diverged", "critical", "fault", claim, repair, tuple(rows))]
    total, largest = by["total"], max((by[name] for name in PARTS), key=lambda row: row.value or 0)
    parts = "; ".join(f"{PARTS[name][0]} {_sized(by[name])}" for name in PARTS)
    claim = (
        "Against the gradient of expected adaptation (exact inner steps), whose mean has norm "
        f"{_sized(whole[0])}, the bias is {_sized(total)}: {parts}."
    )
    resolved = largest.status == "ok" and (largest.value or 0) > 0
    state = "" if resolved else "undecided"
    repair = PARTS[largest.of][1] if resolved else "More tasks narrow this (--tasks)."
    evidence = (total, *(by[name] for name in PARTS), *whole)
    return [Finding("sampling_bias", "info", state, claim, repair, evidence)]


def _hessian(table: pd.DataFrame) -> list[Finding]:
    """Report layers whose sampled Hessian vanishes in the mean, or has the wrong sign."""
    shares = from_table(table, "hessian_share", of=None, layer=None)
    signs = {r.layer: r for r in from_table(table, "hessian_alignment", of=None, layer=None)}
    found = []
    for row in shares:
        sign = signs.get(row.layer)
        where = f"In `{row.layer}` the" if row.layer else "The"
        if row.high is not None and row.high <= DEAD:
            claim = (
                f"{where} sampled inner Hessian vanishes in the mean: |E H| is {_sized(row)} of "
                "the Hessian's norm. This is first-order MAML plus what the reuse of samples adds."
            )
        elif sign and sign.high is not None and sign.high < 0:
            claim = (
                f"{where} sampled inner Hessian has the wrong sign in the mean: along the Hessian "
                f"it is {_sized(sign)} of it."
            )
        else:
            continue
        repair = "Use loaded_dice (--set family.surrogate=loaded_dice), or fomaml at lower cost."
        evidence = (row,) if sign is None else (row, sign)
        found.append(Finding("inner_hessian", "warning", "fault", claim, repair, evidence))
    return found


def _sized(row: Row) -> str:
    return f"{number(row.value or 0)} {interval(row)}"
