"""Findings about the bias of the estimator and of the objective, and about amplification."""

from __future__ import annotations

import math

from metabench.probes.variance.findings.independence import law
from metabench.probes.wording import error, interval, number
from metabench.records.number_format import percent
from metabench.records.rows import Finding, Row, Rows, from_table

GAP_WARNED_OF = 0.25  # of |E g|^2: an objective gap half as long as the mean gradient
GAP_REPORTED = 0.1  # of |E g|^2: a smaller objective gap stands in the table only
NEGLIGIBLE_BIAS = 0.05  # of the exact estimator's variance at your B: a squared bias that is fine

DIFFERENCES = "finite differences"  # the check that confirms a gradient
# statuses of checks that contradict a gradient
CONTRADICTING = ("wrong", "mismatch", "random", "sum", "tasks_interact", "not finite")


def bias(table: Rows, batch: int) -> list[Finding]:
    """Return the findings about biases and amplification that the intervals support."""
    verdict = checked(table)
    measured = _estimator_bias(table, batch, verdict)
    return [
        *_bias_not_reported(table),
        *_claim_refuted(table),
        *(f if verdict != "contradicted" else _unjudged(f) for f in measured),
        *(_comparison(table, batch) if verdict != "contradicted" else []),
        *_objective_gap(table),
        *_variance_amplification(table),
    ]


def _unjudged(finding: Finding) -> Finding:
    """Keep the numbers of a finding whose reference the checks contradict, without a verdict."""
    if finding.state == "undecided":
        return finding
    repair = "Correct the gradient first: `metabench verify` shows where it is wrong."
    return finding._replace(level="info", state="undecided", repair=repair)


def _bias_not_reported(table: Rows) -> list[Finding]:
    """Say that the estimator's bias was not measured, and why."""
    found = [r for r in from_table(table, "bias", of="estimator") if r.status == "no_reference"]
    if not found:
        return []
    claim = (
        "The estimator's bias is not reported: the algorithm names no exact estimator of the same "
        "objective to compare with."
    )
    repair = "`metabench agreement` compares it with maml on the same tasks."
    return [Finding("bias_not_reported", "info", "not_looked_at", claim, repair, tuple(found))]


def _claim_refuted(table: Rows) -> list[Finding]:
    """Report an algorithm that declares itself exact and is measured to be biased."""
    refuted = [r for r in from_table(table, "claim", of="exact") if r.status == "refuted"]
    if not refuted:
        return []
    found = from_table(table, "bias", of="estimator")[0]
    claim = (
        "The algorithm declares itself exact, but it is biased: the squared distance of its mean "
        f"meta-gradient from its reference's is {number(found.value)} {interval(found)}."
    )
    repair = (
        "Set `exact = False` in its class, or fix its gradient: `metabench verify` shows where it "
        "is wrong."
    )
    return [Finding("claim_refuted", "warning", "fault", claim, repair, (*refuted, found))]


def _estimator_bias(table: Rows, batch: int, checked: str) -> list[Finding]:
    found = from_table(table, "bias", of="estimator")
    if not found or found[0].status not in ("ok", "zero", "declared"):
        return []
    errors = [r for r in from_table(table, "mse", of=None) if r.at == batch]
    if checked != "confirmed" and found[0].status in ("zero", "declared"):
        return [_declared(table, found[0], errors)]
    if len(errors) < 2 or any(r.value is None for r in errors[:2]):
        return []
    exact, short = errors[:2]
    evidence = (found[0], exact, short, *_break_even(table))
    doubtful = law(table) in ("refuted", "doubtful")
    text = (
        f"Errors at B = {batch} are not compared, because the variance of B tasks may not be that "
        "of one task over B."
        if doubtful
        else f"At B = {batch} the mean squared error is {number(short.value)} {interval(short)} "
        f"for {short.of} and {number(exact.value)} {interval(exact)} for {exact.of}. "
        f"{_when_exact_is_better(table, exact)}"
    )
    if found[0].status != "ok":
        claim = f"{exact.of} is unbiased for its objective. {text}"
        state, repair = _at_your_batch(table, exact, short, doubtful)
        return [Finding("estimator_bias", "info", state, claim, repair, evidence)]
    state = "undecided" if doubtful else _state(table, found[0], exact)
    return [_biased(table, state, text, evidence)]


def _declared(table: Rows, found: Row, errors: list[Row]) -> Finding:
    """Say that an estimator declares itself exact, and that the checks don't confirm it."""
    checks = from_table(table, "check", of=None)
    wrong = [r for r in checks if r.status in CONTRADICTING]
    differences = [r for r in checks if r.of == DIFFERENCES]
    name = errors[0].of if errors else "The algorithm"
    if wrong:
        why = f"the check '{wrong[0].of}' of this table contradicts that ({wrong[0].status})"
        repair = "Correct the gradient first: `metabench verify` shows where it is wrong."
    else:
        unconfirmed = (
            f"did not confirm that ({differences[0].status})" if differences else "were not run"
        )
        why = f"finite differences {unconfirmed}"
        repair = "Run `metabench verify`, which says what would decide it."
    claim = f"{name} declares itself exact, but {why}: its bias is unknown."
    return Finding(
        "estimator_bias", "info", "undecided", claim, repair, (found, *wrong, *differences)
    )


def checked(table: Rows) -> str:
    """Return what the table's checks say of the gradient: contradicted, confirmed, or open."""
    checks = from_table(table, "check", of=None)
    if any(r.status in CONTRADICTING for r in checks):
        return "contradicted"
    held = any(r.of == DIFFERENCES and r.status == "ok" for r in checks)
    return "confirmed" if held else "open"


def _biased(table: Rows, state: str, text: str, evidence: tuple[Row, ...]) -> Finding:
    """Report the shortcut's bias, and judge it at the B you train with."""
    found, exact, short = evidence[:3]
    cosine = from_table(table, "cosine", of="estimator")
    angle = ""
    if cosine:
        angle = f", the cosine to the exact mean {number(cosine[0].value)} {interval(cosine[0])}"
    claim = (
        f"{short.of} is biased: the squared bias is {number(found.value)} {interval(found)}"
        f"{angle}. {text}"
    )
    level = "warning" if state == "fault" else "info"
    repair = {
        "fault": f"Use {exact.of}: its error is smaller at B = {short.at:.0f}.",
        "fine": f"Keep {short.of} at B = {short.at:.0f}: its squared bias is below "
        f"{percent(NEGLIGIBLE_BIAS)} of the variance of B tasks.",
        "undecided": f"Whether {short.of} is good enough at B = {short.at:.0f} is undecided: "
        "redraw more tasks (--set probe.redrawn_tasks=..., and --tasks twice that).",
    }[state]
    return Finding("estimator_bias", level, state, claim, repair, evidence)


def _state(table: Rows, found: Row, exact: Row) -> str:
    """Judge a bias by the paired error at B, and relative to the exact one's variance."""
    B = exact.at or 0.0
    limit = next(iter(from_table(table, "negligible_up_to")), Row("negligible_up_to"))
    if limit.high is not None and limit.high < B:
        return "fault"
    small = found.high is not None and found.high <= NEGLIGIBLE_BIAS * (exact.low or 0.0)
    return "fine" if small and limit.low is not None and limit.low > B else "undecided"


def _comparison(table: Rows, batch: int) -> list[Finding]:
    """Rank the algorithms compared, in the time that the exact estimator takes."""
    errors = [r for r in from_table(table, "mse_same_seconds", of=None) if r.at == batch]
    if law(table) in ("refuted", "doubtful"):
        return []
    if len(errors) < 3 or any(r.value is None for r in errors):
        return []
    exact = errors[0].of
    best, *rest = sorted(errors, key=lambda r: math.inf if r.high is None else r.high)
    ranking = ", ".join(f"{error(r)} for {r.of}" for r in (best, *rest))
    claim = f"In the time that {batch} tasks of {exact} take, the mean squared error is {ranking}."
    ties = [r.of for r in rest if best.high is None or not (r.low or 0.0) > best.high]
    repair = (
        f"Use {best.of} at this budget."
        if not ties
        else f"Which is best at this budget is undecided between {' and '.join((best.of, *ties))}."
    )
    return [
        Finding("comparison", "info", "undecided" if ties else "", claim, repair, (best, *rest))
    ]


def _break_even(table: Rows) -> list[Row]:
    return from_table(table, "break_even")


def _when_exact_is_better(table: Rows, exact: Row) -> str:
    """State the batch size above which the exact estimator has the smaller error."""
    for line in _break_even(table):
        if line.high == 0:
            return f"On the same tasks, {exact.of} has the smaller error at every B."
        if line.value and line.high is not None:
            limit = f"{number(line.value)} tasks {interval(line)}"
            return f"On the same tasks, {exact.of} has the smaller error above B = {limit}."
    return ""


def _at_your_batch(table: Rows, exact: Row, short: Row, doubtful: bool) -> tuple[str, str]:
    """Return state and repair of an unbiased estimator: where your B lies to the break-even."""
    B = exact.at or 0.0
    line = next(iter(_break_even(table)), None)
    time = "`metabench cost` compares errors for equal time."
    if doubtful or line is None:
        return "fine", ""
    if line.high is not None and line.high < B:
        return "fine", f"Keep {exact.of} at B = {B:.0f}; {time}"
    if (line.low or 0.0) > B:
        return "", f"At B = {B:.0f}, {short.of} has the smaller error: use it, or raise B. {time}"
    return "undecided", (
        f"Which of the two has the smaller error at B = {B:.0f} is undecided: redraw more tasks "
        f"(--set probe.redrawn_tasks=..., and --tasks twice that). {time}"
    )


def _objective_gap(table: Rows) -> list[Finding]:
    gap = [r for r in from_table(table, "bias", of="objective") if r.at is None]
    mean = from_table(table, "mean_norm_squared")
    if not gap or not mean or gap[0].status != "ok" or mean[0].status != "ok":
        return []
    if not gap[0].low or not mean[0].high or gap[0].low < GAP_REPORTED * mean[0].high:
        return []
    share = (gap[0].value or 0) / (mean[0].value or 1)
    claim = (
        "Training with so few shots optimizes a different objective than many-shot training: the "
        "squared distance between the two expected gradients is "
        f"{number(gap[0].value)} {interval(gap[0])}, {percent(share)} of |E g|^2."
    )
    repair = (
        "If the model will be adapted with more shots than in training, train with more "
        "(--set family.shots=...); a larger task batch does not reduce this gap."
    )
    level = "warning" if gap[0].low > GAP_WARNED_OF * mean[0].high else "info"
    return [
        Finding(
            "objective_gap",
            level,
            "fault" if level == "warning" else "",
            claim,
            repair,
            (gap[0], mean[0]),
        )
    ]


def _variance_amplification(table: Rows) -> list[Finding]:
    found = from_table(table, "amplification")
    if not found or found[0].low is None or found[0].low < 2:
        return []
    claim = (
        f"The inner loop multiplies the variance by {number(found[0].value)} {interval(found[0])} "
        "relative to the plain query gradient at theta."
    )
    repair = "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    return [Finding("amplification", "warning", "fault", claim, repair, (found[0],))]
