"""Findings about whether the tasks of a batch are independent, so that its variance is V1/B."""

from __future__ import annotations

from metabench.probes.variance.independent_law import SLOPE_MARGIN, independent_law
from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, Rows, from_table

KEEP = "Keep this sampler."
LAWS = ("slope", "independence")
BATCH_BY_LAW = {  # added to what rests on V1/B, by what is known of it
    "open": " This assumes independent tasks; the slope of the variance leaves that undecided.",
}


def law(table: Rows) -> str:
    """Return whether the variance of B tasks is V1/B: a word of `independent_law`."""
    return independent_law(row for quantity in LAWS for row in from_table(table, quantity))


def independence(table: Rows, largest: int) -> list[Finding]:
    """Judge independence by the sampler's declaration, the order of the tasks, and the slope.

    Args:
        table: rows by quantity.
        largest: B up to which the slope is fitted.
    """
    slope = next(iter(from_table(table, "slope")), Row("slope", status="withheld"))
    test = from_table(table, "independence")
    excess = from_table(table, "batch_excess")
    evidence = (slope, *test, *excess)
    text = ""
    if slope.value is not None:
        text = f"Variance falls as B^{slope.value:.2f} {interval(slope)} from B = 1 to {largest}"
    found = law(table)
    if found == "refuted":
        return [_dependent(text, test[0], excess[0], evidence)]
    if slope.low is None or slope.high is None:
        return []
    if found == "declared":
        claim = (
            f"{text}. The sampler draws tasks independently by construction, so the variance of B "
            "tasks is that of one task over B."
        )
        return [Finding("independent_tasks", "info", "fine", claim, KEEP, evidence)]
    if found == "holds":
        claim = f"{text}, within {SLOPE_MARGIN:g} of B^-1, the law of independent tasks."
        return [Finding("independent_tasks", "info", "fine", claim, KEEP, evidence)]
    return [_undecided(f"{text}{_order_text(test)}", slope, found, evidence)]


def _dependent(text: str, test: Row, excess: Row, evidence: tuple[Row, ...]) -> Finding:
    """Report tasks whose order is not random: a fault where batches vary more than V1/B."""
    positive = (excess.value or 0) > 1
    claim = (
        f"Tasks in a batch are {'positively' if positive else 'negatively'} correlated: no random "
        f"order of the same tasks is as uneven (permutation test, p = {number(test.value)})."
        f"{f' {text}; independent tasks would give B^-1.' if text else ''} The noise scale and the "
        "signal-to-noise ratio are not reported."
    )
    if not positive:
        repair = (
            "If the sampler stratifies on purpose, keep it: batches vary less than those of "
            "independent tasks."
        )
        return Finding("dependent_tasks", "info", "", claim, repair, evidence)
    repair = (
        "Draw the tasks of a batch independently: shuffle across classes and files, and check "
        "that the sampler's seed differs between tasks."
    )
    return Finding("dependent_tasks", "critical", "fault", claim, repair, evidence)


def _order_text(test: list[Row]) -> str:
    if not test or test[0].value is None:
        return ""
    return f"; the order of single tasks has p = {number(test[0].value)} (permutation test)"


def _undecided(text: str, slope: Row, found: str, evidence: tuple[Row, ...]) -> Finding:
    """Say that the slope doesn't decide, with the tasks that would give the wanted width."""
    if found == "doubtful":
        claim = (
            f"{text}. The 95 % interval of the slope excludes -1, so the variance of B tasks may "
            "not be that of one task over B."
        )
        repair = (
            "Measure again with another --seed: a chance deviation (1 run in 20) won't recur, "
            "dependence between tasks will."
        )
        return Finding("slope_unclear", "info", "undecided", claim, repair, evidence)
    times = ((slope.high or 0) - (slope.low or 0)) ** 2 / (2 * SLOPE_MARGIN) ** 2
    claim = (
        f"{text}. Whether tasks are independent is undecided: the interval contains -1, but is "
        f"not within {SLOPE_MARGIN:g} of it."
    )
    wider = (
        f"About {number(times)} times as many batches (--tasks and --set probe.batches=...) give "
        "an interval of that width"
        if times > 1
        else "The interval is narrow enough, but lies across the end of that margin"
    )
    repair = f"{wider}; a sampler that draws independently can declare it: @mb.independent_tasks."
    return Finding("slope_unclear", "info", "undecided", claim, repair, evidence)
