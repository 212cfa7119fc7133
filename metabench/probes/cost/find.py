"""What the cost table says: the price of a meta-gradient, and who is closest for a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metabench.probes.cost import EXACT, UNROLL
from metabench.probes.curves import by_method
from metabench.probes.wording import interval, number
from metabench.records.rows import LEVELS, Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.cost import Cost


def find(probe: Cost, table: pd.DataFrame) -> list[Finding]:
    """Make findings of one cost table, the weightiest first."""
    seconds = from_table(table, "seconds", of=None)
    if [r.status for r in seconds] == ["withheld"]:
        claim = "Withheld: a black box has no other algorithm's inner loop to be compared on."
        repair = "Measure one of metabench's algorithms on the same problem (--algo maml)."
        return [Finding("withheld", "info", "not_looked_at", claim, repair, tuple(seconds))]
    findings = [
        *_diverged(table),
        *_best(table, probe.batch),
        *_even(table, probe.batch),
        *_growth(table),
        *_unroll(table),
    ]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _diverged(table: pd.DataFrame) -> list[Finding]:
    """Say whose error can't be told, since some of its meta-gradients aren't finite."""
    lost = [r for r in from_table(table, "mse", of=None) if r.status == "diverged"]
    if not lost:
        return []
    names = ", ".join(r.of or EXACT for r in lost)
    claim = f"Some meta-gradients of {names} aren't finite, so no error is told" + (
        f" of any algorithm: each is held against {EXACT}." if not lost[0].of else "."
    )
    repair = "Lower the inner rate, or ask `metabench explosion` where it begins."
    return [Finding("diverged", "warning", "fault", claim, repair, tuple(lost))]


def _best(table: pd.DataFrame, batch: int) -> list[Finding]:
    """Say whose error is smallest at one's batch, and for a second; a tie is said to be one."""
    made = []
    for quantity, at, words in (("mse", float(batch), f"At B = {batch}"),
                                ("mse_by_seconds", 1.0, "For one second")):  # fmt: skip
        lines = {n: by[at] for n, by in by_method(table, quantity).items() if at in by}
        known = {name: r for name, r in lines.items() if r.value is not None}
        if len(known) < 2:
            continue
        first, second, *_ = sorted(known, key=lambda name: known[name].value or 0)
        a, b = known[first], known[second]
        apart = a.high is not None and b.low is not None and a.high < b.low
        claim = (
            f"{words} the mean squared error is smallest for {first}, {number(a.value)} "
            f"{interval(a)}, then {second}, {number(b.value)} {interval(b)}"
            + ("." if apart else "; their intervals overlap, so neither is shown to be better.")
        )
        repair = f"Use --algo {first} at this budget." if apart else "Take the simpler one."
        made.append(
            Finding(f"best_{quantity}", "info", "" if apart else "undecided", claim, repair, (a, b))
        )
    return made


def _even(table: pd.DataFrame, batch: int) -> list[Finding]:
    made = []
    for line in from_table(table, "break_even", of=None):
        bias = [r for r in from_table(table, "bias", of=line.of) if r.status == "ok"]
        if not bias or line.value is None or line.high is None:
            continue
        here = "above" if line.high < batch else "below" if (line.low or 0) > batch else "about"
        claim = (
            f"{line.of} is biased (squared, {number(bias[0].value)} {interval(bias[0])}): {EXACT} "
            f"has the smaller error from B* = {number(line.value)} tasks {interval(line)} on; "
            f"B = {batch} is {here} it."
        )
        bad = line.high < batch
        repair = f"Use {EXACT} at this batch." if bad else "Nothing to change at this batch."
        made.append(
            Finding(
                f"pays_{line.of}",
                "info",
                "undecided" if here == "about" else "",
                claim,
                repair,
                (line, bias[0]),
            )
        )
    return made


def _growth(table: pd.DataFrame) -> list[Finding]:
    """Say what memory does as K grows, of the exact algorithm and of what keeps no path."""
    held = by_method(table, "bytes")
    if EXACT not in held or len(held[EXACT]) < 2:
        return []
    few, many = min(held[EXACT]), max(held[EXACT])

    def grown(name: str) -> float:
        return (held[name][many].value or 0.0) / (held[name].get(few, held[name][many]).value or 1)

    flat = [name for name in held if many in held[name] and few in held[name] and grown(name) < 1.1]
    claim = (
        f"From K = {few:g} to {many:g} the bytes of one task grow {number(grown(EXACT))} times for "
        f"{EXACT}" + (f" and not for {', '.join(flat)}." if flat else ".")
    )
    repair = (
        "If memory is short: --set algo.rematerialize=sqrt keeps only phi and the optimizer's "
        "slots a step."
    )
    rows = tuple(held[name][k] for name in (EXACT, *flat) for k in (few, many))
    return [Finding("memory", "info", "", claim, repair, rows)]


def _unroll(table: pd.DataFrame) -> list[Finding]:
    seconds, held = by_method(table, "seconds_by_k"), by_method(table, "bytes")
    if not (UNROLL in seconds and EXACT in seconds):
        return []
    K = max(seconds[EXACT])
    pair = [(s[EXACT][K], s[UNROLL][K]) for s in (seconds, held)]
    (fast, slow), (small, large) = pair
    claim = (
        f"At K = {K:g}, {EXACT} takes {_times(fast, slow)} the seconds and "
        f"{_times(small, large)} the bytes of autograd through the unroll, for the same numbers."
    )
    return [Finding("unroll", "info", "", claim, "Nothing to change.", (fast, slow, small, large))]


def _times(one: Row, other: Row) -> str:
    return f"{(one.value or 0) / (other.value or 1):.2g} times"
