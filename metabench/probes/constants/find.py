"""What the constants say of the theory here, in sentences with numbers and repairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.constants.rates import rate_findings, told
from metabench.probes.wording import number, percents
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.constants import Constants

BLACK_BOX = "an inner loop that can be seen"
START = "theta is where adaptation starts"
REPAIRS = {
    "K = 1": "--set algo.steps=1",
    "plain inner descent": "--set algo.inner_optimizer=sgd, unclipped and with no learned rates",
    START: "a problem whose theta is the initialization, of the same size as phi",
    "MAML's own gradient": "--algo maml, with whole support sets",
    "alpha L <= 1/6": "a smaller --set algo.inner_optimizer.rate=...",
    "a Lipschitz Hessian": "smooth activations (tanh, softplus) in the place of ReLU and pooling",
    "D_h >= 2 alpha^2 sigma_H^2": "more support examples or a smaller inner rate",
}
NOTHING = "Nothing to change."


def find(probe: Constants, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one table of constants, the weightiest first."""
    findings = [
        *_diverged(table),
        *_withheld(table),
        *_assumptions(table),
        *_moments(table),
        *_smoothness(table),
        *_iterations(table),
        *_floor(table),
        *rate_findings(table),
        *_reduced(table),
    ]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _reduced(table: pd.DataFrame) -> list[Finding]:
    """Say of how few tasks the numbers are, where the budget of operations cut them down."""
    noted = {r.of: r for r in from_table(table, "reduced", of=None)}
    counts = {r.of: r for r in from_table(table, "tasks", of=None)}
    if not noted:
        return []
    claims = []
    if "sets" in noted:
        claims.append(
            f"moments are of {number(counts[''].value)} tasks with {number(noted['sets'].value)} "
            f"sets each, and Hessians of {number(counts['Hessians'].value)}"
        )
    if "tolerance" in noted:
        coarse = number(100 * (noted["tolerance"].value or 0.0))
        claims.append(f"extreme eigenvalues are found only to {coarse} % of the largest")
    claim = f"Within the budget of operations, {'; '.join(claims)}."
    repair = "For narrower intervals, allow more operations (--set probe.budget=1e12)."
    return [Finding("reduced", "info", "", claim, repair, (*counts.values(), *noted.values()))]


def _diverged(table: pd.DataFrame) -> list[Finding]:
    hits = from_table(table, "diverged", of=None)
    if not hits:
        lost = [r for r in from_table(table, "first_moment", of=None) if r.status == "diverged"]
        if not lost:
            return []
        claim = f"The meta-gradient is not finite at inner rate {number(lost[0].at)}."
        return [
            Finding("diverged", "critical", "fault", claim, "Lower the inner rate.", tuple(lost))
        ]
    worst = hits[0]
    claim = f"The Hessian is not finite for {percents(worst)} of tasks ({worst.of})."
    repair = (
        "Check theta and the tasks for NaN and infinity."
        if worst.of == "start"
        else "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    )
    return [Finding("diverged", "critical", "fault", claim, repair, tuple(hits))]


def _withheld(table: pd.DataFrame) -> list[Finding]:
    """Say what one task, a sampler without redraws or a lack of third derivatives leaves out."""
    rows = [r for r in from_table(table, "gradient_variance", of=None) if r.status != "ok"]
    states = {row.status for row in rows}
    made = []
    if "unresolved" in states:
        claim = "Fewer than three tasks say nothing of how tasks differ: variances are withheld."
        made.append(
            Finding(
                "few_tasks",
                "info",
                "not_looked_at",
                claim,
                "Measure more (--tasks 256).",
                tuple(rows),
            )
        )
    if "not_redrawable" in states:
        claim = (
            "The sampler can't redraw a task's sets apart, so that what one set varies by is "
            "withheld, and with it both moment bounds; L and rho are those of the sets as they are."
        )
        repair = "Give a sampler that takes (address, seed)."
        made.append(Finding("no_redraws", "info", "not_looked_at", claim, repair, tuple(rows)))
    lost = [r for r in from_table(table, "smoothness", of="measured") if r.status == "withheld"]
    if lost:
        claim = "Withheld: the meta-Hessian, a third derivative, which fused norms have wrong."
        repair = "Write them out: net = metabench.safe_norms(net)."
        made.append(
            Finding("no_third_derivative", "info", "not_looked_at", claim, repair, tuple(lost))
        )
    flat = [r for r in from_table(table, "slack", of=None) if r.status == "degenerate"]
    if flat:
        claim = "Every meta-gradient is exactly zero, so that any bound holds and none has a slack."
        repair = "Check that the query loss reaches theta (metabench verify)."
        made.append(Finding("zero", "warning", "fault", claim, repair, tuple(flat)))
    return made


def _assumptions(table: pd.DataFrame) -> list[Finding]:
    rows = from_table(table, "assumption", of=None)
    broken = [row for row in rows if row.status == "violated"]
    own = [row for row in broken if row.of in REPAIRS]
    if any(row.of == BLACK_BOX for row in broken):
        claim = (
            "Withheld: a black box shows neither its inner rate nor its steps, so only the "
            "constants of the problem's losses are told, and no bound."
        )
        repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(rows))]
    if not rows:
        return []
    if not own:
        claim = (
            "No assumption of the theory that can be checked at theta is refuted, but one: the "
            "step's own support set gives the Hessian too, where the bounds ask another set."
        )
        return [Finding("covered", "info", "undecided", claim, NOTHING, tuple(rows))]
    said = ", ".join(_said(row) for row in own)
    claim = f"The convergence theory doesn't cover this setting. Violated: {said}."
    if any(row.of == START for row in own):
        claim += " Its bounds are withheld."
    repair = f"To be covered: {'; '.join(REPAIRS[row.of] for row in own)}."
    return [Finding("not_covered", "info", "", claim, repair, tuple(broken))]


def _said(row: Row) -> str:
    if row.of == "a Lipschitz Hessian":
        return "a Lipschitz Hessian (it jumps at kinks, so that rho is infinite)"
    return row.of if row.value is None else f"{row.of} (here {number(row.value)})"


def _moments(table: pd.DataFrame) -> list[Finding]:
    """Hold both bounds against what they bound, at the largest covered rate at most."""
    made = []
    for name, words in (("first_moment", "|E G|^2"), ("second_moment", "E |G|^2")):
        for slack in from_table(table, "slack", of=name.replace("_", " ")):
            if slack.value is None or slack.low is None:
                continue
            pair = [_at(table, name, of, slack.at) for of in ("measured", "bound")]
            measured, limit = pair
            if measured is None or limit is None:
                continue
            claim = (
                f"At inner rate {number(slack.at)} {words} is {told(measured)} and its bound "
                f"{told(limit)}, {told(slack)} times as much."
            )
            if slack.high is not None and slack.high < 1:
                claim += " The constants at theta are exceeded elsewhere on the step."
                repair = "Trust the measured moment, not the bound."
                made.append(
                    Finding(name, "warning", "fault", claim, repair, (slack, measured, limit))
                )
                continue
            made.append(
                Finding(
                    name,
                    "info",
                    "fine" if slack.low >= 1 else "undecided",
                    claim,
                    NOTHING,
                    (slack, measured, limit),
                )
            )
    return made


def _smoothness(table: pd.DataFrame) -> list[Finding]:
    made = []
    for slack in from_table(table, "slack", of="smoothness"):
        measured, limit = (_at(table, "smoothness", of, slack.at) for of in ("measured", "bound"))
        if measured is None or limit is None or not measured.value or not limit.value:
            continue
        claim = (
            f"At inner rate {number(slack.at)} the meta-Hessian's norm is {told(measured)}, where "
            f"the theory's L(w) is {number(limit.value)} at least: {told(slack)} times as much."
        )
        edge = 2 / (measured.high or measured.value)
        repair = (
            f"Choose the outer rate by the measured edge, below {edge:.2g} for plain descent here, "
            f"not by the theory's 1 / (12 L(w)) = {1 / (12 * limit.value):.2g}."
        )
        made.append(Finding("smoothness", "info", "", claim, repair, (slack, measured, limit)))
    return made


def _iterations(table: pd.DataFrame) -> list[Finding]:
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
        f"To |grad F| = {number(epsilon.value)} the theory allows {number(limit.value)} steps or "
        "more"
    )
    repair = (
        "Take it for an order in epsilon, not for a number of steps; and only for plain outer "
        "descent, never for Adam."
    )
    if taken is None:
        return [Finding("iterations", "info", "", f"{claim}.", repair, (limit, epsilon))]
    if taken.value is None:
        last = f" after {number(taken.low)} steps" if taken.low else ""
        claim += f"; its own method at its own rate was not there{last}."
    else:
        claim += f"; its own method at its own rate took {told(taken)}."
    return [Finding("iterations", "info", "", claim, repair, (limit, epsilon, taken))]


def _floor(table: pd.DataFrame) -> list[Finding]:
    total, batch = from_table(table, "floor"), from_table(table, "batch")
    shares = from_table(table, "support_share")
    if not total or total[0].value is None or not batch or not shares or shares[0].low is None:
        return []
    share = shares[0]
    claim = (
        f"At B = {number(batch[0].value)} the theory's floor of |grad F|^2 is of order "
        f"{told(total[0])}; {percents(share)} of it is the support "
        "sets' noise, which no number of tasks removes."
    )
    much = share.low is not None and share.low > 0.5
    repair = "More support examples lower it, more tasks hardly do." if much else NOTHING
    return [Finding("floor", "info", "", claim, repair, (total[0], share, *batch))]


def _at(table: pd.DataFrame, quantity: str, of: str, at: float | None) -> Row | None:
    return next((r for r in from_table(table, quantity, of=of) if r.at == at), None)
