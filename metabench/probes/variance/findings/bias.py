"""Findings about what the meta-gradient is off by, and what exactness costs."""

from __future__ import annotations

from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, Rows, from_table

GREAT = 0.25  # of |E g|^2: half its length, a gap that is warned of
SMALL = 0.05  # of the exact estimator's variance at one's B: a squared bias that is fine
NOTABLE = 0.1  # of |E g|^2: a smaller gap is told by the table, not by a sentence


def bias(table: Rows, batch: int) -> list[Finding]:
    """Say what the shortcut and the few shots cost, where the intervals support it."""
    return [
        *_withheld(table),
        *_refuted(table),
        *_estimator(table, batch),
        *_rivals(table, batch),
        *_objective(table),
        *_amplification(table),
    ]


def _withheld(table: Rows) -> list[Finding]:
    """Say why no bias is told."""
    found = [r for r in from_table(table, "bias", of="estimator") if r.status == "withheld"]
    if not found:
        return []
    claim = (
        "Withheld: the bias of an estimator is measured against the exact gradient of its "
        "objective, and this algorithm has an objective of its own, or names no such reference."
    )
    repair = "`metabench agreement` holds it against maml's on the same tasks."
    return [Finding("bias_withheld", "info", "not_looked_at", claim, repair, tuple(found))]


def _refuted(table: Rows) -> list[Finding]:
    """Contradict an algorithm that says it is exact, and isn't."""
    refuted = [r for r in from_table(table, "claim", of="exact") if r.status == "refuted"]
    if not refuted:
        return []
    found = from_table(table, "bias", of="estimator")[0]
    claim = (
        "The algorithm claims to be exact, and is not: its mean meta-gradient is off that of its "
        f"reference by a squared {number(found.value)} {interval(found)}."
    )
    repair = (
        "Set `exact = False` in its class, or mend its gradient: `metabench verify` says where."
    )
    return [Finding("claim_refuted", "warning", "fault", claim, repair, (*refuted, found))]


def _estimator(table: Rows, batch: int) -> list[Finding]:
    found = from_table(table, "bias", of="estimator")
    if not found or found[0].value is None or found[0].status not in ("ok", "zero"):
        return []
    errors = [r for r in from_table(table, "mse", of=None) if r.at == batch]
    if len(errors) < 2 or any(r.value is None for r in errors[:2]):
        return []
    exact, short = errors[:2]
    said = (
        f"At B = {batch} the mean squared error is {number(short.value)} {interval(short)} for "
        f"{short.of} and {number(exact.value)} {interval(exact)} for {exact.of}. "
        f"{_pays(table, exact)}"
    )
    if found[0].status == "zero":
        claim = f"{exact.of} is unbiased for its own objective. {said}"
        evidence = (found[0], exact, short, *_even(table))
        return [Finding("estimator_bias", "info", "fine", claim, "Nothing to change.", evidence)]
    return [_biased(table, found[0], exact, short, said)]


def _biased(table: Rows, found: Row, exact: Row, short: Row, said: str) -> Finding:
    """Say how far the shortcut is off, and judge whether that is too far at one's batch."""
    cosine = from_table(table, "cosine", of="estimator")
    angle = f", at a cosine of {number(cosine[0].value)} {interval(cosine[0])}" if cosine else ""
    claim = (
        f"{short.of} is biased: the squared bias is {number(found.value)} {interval(found)}"
        f"{angle} to the exact mean. {said}"
    )
    state = _state(found, exact, short)
    level, repair = "info", "The shortcut costs nothing at your batch; nothing to change."
    if state == "fault":
        level, repair = "warning", f"Use {exact.of}: it is closer to the truth at your batch."
    evidence = (found, exact, short, *_even(table))
    return Finding("estimator_bias", level, state, claim, repair, evidence)


def _state(found: Row, exact: Row, short: Row) -> str:
    """Judge a bias by both errors' intervals, or by its share of the exact one's variance."""
    if short.low is not None and exact.high is not None and short.low > exact.high:
        return "fault"
    small = found.high is not None and found.high <= SMALL * (exact.low or 0.0)
    return "fine" if small else "undecided"


def _rivals(table: Rows, batch: int) -> list[Finding]:
    """Rank what was compared besides, for the seconds that the exact estimator takes."""
    errors = [r for r in from_table(table, "mse_same_seconds", of=None) if r.at == batch]
    if len(errors) < 3 or any(r.value is None for r in errors):
        return []
    exact = errors[0].of
    best, *rest = sorted(errors, key=lambda r: r.value or 0.0)
    said = ", ".join(f"{number(r.value)} {interval(r)} for {r.of}" for r in (best, *rest))
    claim = f"In the seconds of {batch} tasks of {exact}, the mean squared error is {said}."
    level = [r.of for r in rest if not (r.low or 0.0) > (best.high or 0.0)]
    repair = (
        f"Use {best.of} at this budget."
        if not level
        else f"{best.of} can't be told from {' and '.join(level)} at this budget: take either."
    )
    return [
        Finding("comparison", "info", "undecided" if level else "", claim, repair, (best, *rest))
    ]


def _even(table: Rows) -> list[Row]:
    names = ("break_even", "break_even_seconds")
    return [r for name in names for r in from_table(table, name)]


def _pays(table: Rows, exact: Row) -> str:
    """Say from which budget on exactness has the smaller error."""
    parts = []
    for line, unit in zip(_even(table), ("tasks", "seconds"), strict=False):
        if line.high == 0:
            parts.append(f"at any number of {unit}")
        elif line.value and line.high is not None:
            parts.append(f"from {number(line.value)} {unit} {interval(line)} on")
    return f"{exact.of} has the smaller error {', and '.join(parts)}." if parts else ""


def _objective(table: Rows) -> list[Finding]:
    gap = [r for r in from_table(table, "bias", of="objective") if r.at is None]
    mean = from_table(table, "mean_norm_squared")
    if not gap or not mean or gap[0].status != "ok" or mean[0].status != "ok":
        return []
    if not gap[0].low or not mean[0].high or gap[0].low < NOTABLE * mean[0].high:
        return []
    share = (gap[0].value or 0) / (mean[0].value or 1)
    claim = (
        "So few shots make another objective than many would: the squared gap between the two "
        f"expected gradients is {number(gap[0].value)} {interval(gap[0])}, {share:.0%} of |E g|^2."
    )
    repair = (
        "If the model will meet more shots than it is trained with, train with more "
        "(--set family.shots=...); no task batch removes this."
    )
    level = "warning" if gap[0].low > GREAT * mean[0].high else "info"
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


def _amplification(table: Rows) -> list[Finding]:
    found = from_table(table, "amplification")
    if not found or found[0].low is None or found[0].low < 2:
        return []
    claim = (
        f"The inner loop multiplies the variance by {number(found[0].value)} {interval(found[0])} "
        "over the plain query gradient at theta."
    )
    repair = "Lower the inner rate (--set algo.inner_optimizer.rate=...) or take fewer inner steps."
    return [Finding("amplification", "warning", "fault", claim, repair, (found[0],))]
