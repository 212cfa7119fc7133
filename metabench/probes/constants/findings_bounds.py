"""Findings that compare the theory's bounds with what was measured: how loose each is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.constants.rates import number_with_interval
from metabench.probes.wording import number, percents
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd


MORE_TASKS = "Measure more tasks (--tasks) to decide."


def moment_findings(table: pd.DataFrame) -> list[Finding]:
    """Return findings that compare both moments with their bounds."""
    made = []
    for name, words in (
        ("first_moment", "the squared mean meta-gradient |E G|^2"),
        ("second_moment", "the mean squared meta-gradient E |G|^2"),
    ):
        for slack in from_table(table, "slack", of=name.replace("_", " ")):
            if slack.value is None or slack.low is None:
                continue
            pair = [_at(table, name, of, slack.at) for of in ("measured", "bound")]
            measured, limit = pair
            if measured is None or limit is None:
                continue
            claim = (
                f"For the theory's own estimator G (one inner step, independent sets) at inner "
                f"rate {number(slack.at)}, {words} is {number_with_interval(measured)}. Its bound "
                f"is {number_with_interval(limit)}, {number_with_interval(slack)} times as large."
            )
            if slack.high is not None and slack.high < 1:
                claim += (
                    " So a constant of the theory is larger along the inner step than at theta."
                )
                repair = "Trust the measured moment, not the bound."
                made.append(
                    Finding(name, "warning", "fault", claim, repair, (slack, measured, limit))
                )
                continue
            # never fine: a bound that holds for G says nothing of a run that the theory excludes
            state, repair = ("", "") if slack.low >= 1 else ("undecided", MORE_TASKS)
            made.append(Finding(name, "info", state, claim, repair, (slack, measured, limit)))
    return made


def smoothness_findings(table: pd.DataFrame) -> list[Finding]:
    """Return findings that compare the meta-Hessian's norm with its bound L(w)."""
    made = []
    for slack in from_table(table, "slack", of="smoothness"):
        measured, limit = (_at(table, "smoothness", of, slack.at) for of in ("measured", "bound"))
        if measured is None or limit is None or not measured.value or not limit.value:
            continue
        claim = (
            f"At inner rate {number(slack.at)}, the meta-Hessian's norm is "
            f"{number_with_interval(measured)}. The theory's bound L(w) is at least "
            f"{number(limit.value)}, {number_with_interval(slack)} times as large."
        )
        stable = 2 / (measured.high or measured.value)
        repair = (
            f"Choose the outer rate by the measured curvature (below {stable:.2g} for plain "
            "gradient descent), not by the theory's rate 1 / (12 L(w)) = "
            f"{1 / (12 * limit.value):.2g}."
        )
        made.append(Finding("smoothness", "info", "", claim, repair, (slack, measured, limit)))
    return made


def iteration_findings(table: pd.DataFrame) -> list[Finding]:
    """Return the finding that compares the iteration bound with the steps that were needed."""
    limits = [r for r in from_table(table, "iterations", of="bound") if r.value is not None]
    if not limits:
        return []
    limit = limits[0]
    epsilon, taken = (
        _at(table, "epsilon", "", limit.at),
        _at(table, "iterations", "measured", limit.at),
    )
    if epsilon is None:
        return []
    claim = (
        f"To reach |grad F| = {number(epsilon.value)}, the theory's bound is at least "
        f"{number(limit.value)} outer steps"
    )
    repair = (
        "Use the bound only for its scaling with epsilon, not as a number of steps. It holds for "
        "plain outer gradient descent, not for Adam."
    )
    if taken is None:
        return [Finding("iterations", "info", "", f"{claim}.", repair, (limit, epsilon))]
    if taken.value is None:
        last = f" after {number(taken.low)} steps" if taken.low else ""
        claim += f". The theory's own method and rate did not reach this gradient norm{last}."
    else:
        claim += f". The theory's own method and rate took {number_with_interval(taken)}."
    return [Finding("iterations", "info", "", claim, repair, (limit, epsilon, taken))]


def floor_findings(table: pd.DataFrame) -> list[Finding]:
    """Return the finding on the theory's floor of |grad F|^2 and the support sets' share of it."""
    total, batch = from_table(table, "floor"), from_table(table, "batch")
    shares = from_table(table, "support_share")
    if not total or total[0].value is None or not batch or not shares or shares[0].low is None:
        return []
    share = shares[0]
    claim = (
        f"Even where it applies, at B = {number(batch[0].value)} the theory bounds |grad F|^2 only "
        f"down to a floor of order {number_with_interval(total[0])}. {percents(share)} of it is "
        "support-set noise, which no number of tasks removes."
    )
    large = share.low is not None and share.low > 0.5
    repair = (
        "Use more support examples; more tasks hardly lower the floor."
        if large
        else "A larger task batch lowers the rest of the floor (--set probe.batch=...)."
    )
    return [Finding("floor", "info", "", claim, repair, (total[0], share, *batch))]


def _at(table: pd.DataFrame, quantity: str, of: str, at: float | None) -> Row | None:
    return next((r for r in from_table(table, quantity, of=of) if r.at == at), None)
