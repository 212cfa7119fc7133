"""Findings on losses that sample: what they estimate at first and at second order."""

from __future__ import annotations

from metabench.probes.verify.limits import FIRST_ORDER, SCORE, SECOND_ORDER
from metabench.probes.wording import interval
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, Rows, from_table

MARGIN = 0.05  # of the gradient or Hessian: a bias that is shown to be smaller is fine
KINDS = {
    "naive": (
        "It is of the naive kind: its Hessian is the derivative of the gradient with the samples "
        "fixed, and leaves out that the samples depend on phi."
    ),
    "lvc": (
        "It is of LVC's kind: it leaves out how a choice changes what later choices cost, as a "
        "decay below 1 does too."
    ),
    "control": (
        "Its expected Hessian changes with the baseline: weights of earlier choices lack the term "
        "that controls for them."
    ),
    "same batch": (
        "It is a multiple of the right gradient in every set: its baseline is fitted on the "
        "samples that it is subtracted from."
    ),
    "batch or control": (
        "Either costs are normalized by statistics of the same samples (standardized advantages), "
        "or weights of earlier choices lack the term that controls for them."
    ),
}
REPAIRS = {
    "naive": "Use loaded_dice (--set family.surrogate=loaded_dice), or emaml with naive.",
    "lvc": "Use loaded_dice with decay 1, if this bias matters more than its lower variance.",
    "control": "Use differences of weights, m(w_t) - m(d w_{t-1}), as loaded_dice does.",
    "same batch": "Fit the baseline on other samples: leave one out, or earlier ones.",
    "batch or control": (
        "Normalize by other samples' statistics, and use differences of weights (loaded_dice)."
    ),
}


def of_samples(table: Rows) -> list[Finding]:
    """Return findings on first order, second order and log-probabilities of a sampled loss."""
    checks = from_table(table, "sampled_check", of=None)
    if not checks:
        return []
    bias = {row.of: row for row in from_table(table, "sampled_bias", of=None)}
    kind = [row.of for row in from_table(table, "sampled_kind", of=None)]
    count = from_table(table, "sampled_sequences")[0]
    biased = {row.of: row for row in checks if row.status == "biased"}
    found = []
    if SCORE in biased:
        found.append(_score(biased[SCORE]))
    for order in (FIRST_ORDER, SECOND_ORDER):
        row = biased.get(order)
        if row and SCORE not in biased and not (order == SECOND_ORDER and FIRST_ORDER in biased):
            found.append(_biased(row, bias.get(order), kind[0] if kind else "", count))
    return found or [_unbiased(checks, bias, count)]


def _score(row: Row) -> Finding:
    claim = (
        "The log-probabilities are wrong: the mean of their gradient is not zero "
        f"(p = {number(row.value or 0)}), as it is for every normalized law."
    )
    repair = (
        "Normalize them (log_softmax; a normal density's log scale), and take them of the choices "
        "that were drawn at this phi."
    )
    return Finding("sampled_score", "critical", "fault", claim, repair, (row,))


def _biased(row: Row, bias: Row | None, kind: str, count: Row) -> Finding:
    """Return the finding on a biased order.

    Args:
        row: the check.
        bias: its relative size.
        kind: what the loss was recognized as.
        count: sequences drawn.
    """
    first = row.of == FIRST_ORDER
    what = "gradient" if first else "Hessian"
    size = f" by {number(bias.value or 0)} {interval(bias)} of its norm" if bias else ""
    claim = (
        f"The sampled inner loss is biased at {row.of}: its expected {what} is off{size} "
        f"({number(count.value or 0)} sequences, p = {number(row.value or 0)} on fresh ones). "
        + KINDS.get(kind, "")
    )
    repair = REPAIRS.get(kind, "")
    evidence = (row, count) if bias is None else (row, bias, count)
    name = "sampled_" + row.of.replace(" ", "_")
    return Finding(name, "warning", "fault", claim.strip(), repair, evidence)


def _unbiased(checks: list[Row], bias: dict[str, Row], count: Row) -> Finding:
    bounds = [
        f"{100 * (bias[order].high or 0):.2g} % at {order}"
        for order in (FIRST_ORDER, SECOND_ORDER)
        if order in bias
    ]
    shown = [(bias[order].high or 0) <= MARGIN for order in bias if order != "baseline shift"]
    state = "fine" if shown and all(shown) else "undecided"
    claim = (
        f"No bias of the sampled inner loss was found with {number(count.value or 0)} sequences; "
        f"it is below {' and '.join(bounds)} of the norm."
        if bounds
        else f"No bias of the sampled inner loss was found with {number(count.value or 0)} "
        "sequences."
    )
    repair = "" if state == "fine" else "More trajectories a set narrow this (--set family.shots=)."
    evidence = (*checks, *bias.values(), count)
    return Finding("sampled", "info", state, claim, repair, evidence)
