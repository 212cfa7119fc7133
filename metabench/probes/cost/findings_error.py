"""Findings on errors: which algorithm has the lowest at your B and in a second, and where."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from metabench.probes.cost import EXACT
from metabench.probes.curves import by_method
from metabench.probes.wording import error, interval, number
from metabench.records.rows import Finding, Row, from_table

if TYPE_CHECKING:
    import pandas as pd

Errors = dict[str, Row]  # mean squared errors by algorithm


def lowest(table: pd.DataFrame, batch: int) -> list[Finding]:
    """Name the algorithm with the lowest error at your batch and in one second, if one is shown.

    An error is known to lie below the upper end of its interval, so that algorithms are ranked by
    it: an error that is not resolved is never the lowest.
    """
    made = []
    for name, quantity, at, limit, words in (
        ("lowest_error", "mse", float(batch), "break_even", f"at B = {batch}"),
        (
            "lowest_error_in_a_second",
            "mse_by_seconds",
            1.0,
            "break_even_seconds",
            "in one second of computing",
        ),
    ):
        lines = {n: by[at] for n, by in by_method(table, quantity).items() if at in by}
        known = {name: row for name, row in lines.items() if row.value is not None}
        if len(known) < 2:
            continue
        ranked = sorted(known, key=lambda name: _upper(known[name]))
        limits = {row.of: row for row in from_table(table, limit, of=None)}
        open_ = _not_excluded(known, ranked[0], limits, at)
        if len(open_) == 1:
            second = next(each for each in ranked if each not in open_)
            made.append(_shown(name, words, (open_[0], second), known))
        else:
            made.append(_undecided(name, words, open_, known))
    return made


def _upper(line: Row) -> float:
    return math.inf if line.high is None else line.high


def _not_excluded(known: Errors, first: str, limits: Errors, at: float) -> list[str]:
    """Return the algorithms that may have the lowest error, those with the least upper end first.

    One is excluded if its interval lies above the first one's, or if its break-even with the exact
    one, which compares the two on the same tasks, shows the other to be better.

    Args:
        known: errors.
        first: the algorithm whose interval has the least upper end.
        limits: break-even with the exact algorithm, by algorithm.
        at: the batch, or the seconds, of the errors.
    """
    beaten = _beaten(known, limits, at)
    least = _upper(known[first])
    left = [name for name in known if name not in beaten and (known[name].low or 0.0) <= least]
    return sorted(left or [first], key=lambda name: _upper(known[name]))


def _beaten(known: Errors, limits: Errors, at: float) -> set[str]:
    """Return the algorithms to which the other of a pair is shown to be better at this budget."""
    pairs = [(name, row) for name, row in limits.items() if name in known]
    beaten = {name for name, row in pairs if row.high is not None and row.high < at}
    return beaten | ({EXACT} if any((row.low or 0.0) > at for _, row in pairs) else set())


def _shown(name: str, words: str, two: tuple[str, str], known: Errors) -> Finding:
    best, second = two
    claim = (
        f"{words[:1].upper()}{words[1:]}, {best} has the lowest mean squared error, "
        f"{error(known[best])}; next is {second} with {error(known[second])}."
    )
    repair = f"Use --algo {best} at this budget."
    return Finding(name, "info", "", claim, repair, (known[best], known[second]))


def _undecided(name: str, words: str, open_: list[str], known: Errors) -> Finding:
    listed = "; ".join(f"{each} {error(known[each])}" for each in open_)
    claim = f"Which algorithm has the lowest mean squared error {words} is undecided: {listed}."
    timed = " and more rounds of timing (--set probe.rounds=21)" if name.endswith("second") else ""
    repair = (
        f"Measure four times as many tasks (--tasks){timed} for narrower intervals; among those "
        "that still overlap, use the fastest."
    )
    return Finding(name, "info", "undecided", claim, repair, tuple(known[each] for each in open_))


def against_exact(table: pd.DataFrame, batch: int) -> list[Finding]:
    """Compare every algorithm whose mean differs from the exact one's with it, at your batch."""
    groups: dict[str, list[tuple[Row, Row]]] = {"above": [], "below": [], "within": []}
    for line in from_table(table, "break_even", of=None):
        bias = [r for r in from_table(table, "bias", of=line.of) if r.status == "ok"]
        if not bias or line.value is None or line.high is None:
            continue
        here = "above" if line.high < batch else "below" if (line.low or 0) > batch else "within"
        groups[here].append((line, bias[0]))
    return [_compared(here, group, batch) for here, group in groups.items() if group]


def _compared(here: str, group: list[tuple[Row, Row]], batch: int) -> Finding:
    """Return the finding on the algorithms for which B is above, below or within the break-even."""
    each = "; ".join(f"{line.of} {_from(line)}" for line, _ in group)
    names = " and ".join(line.of for line, _ in group)
    claim, repair, state = {
        "above": (
            f"At B = {batch}, {EXACT} has a lower error than these, whose mean gradients differ "
            f"from its own (B* in tasks is where the errors are equal): {each}.",
            f"Use {EXACT} at this batch. For equal time, see the error in one second.",
            "",
        ),
        "below": (
            f"At B = {batch}, these have a lower error than {EXACT}, although their mean gradients "
            f"differ from its own (B* in tasks is where the errors are equal): {each}.",
            f"Keep {names} at this batch.",
            "",
        ),
        "within": (
            f"Whether {EXACT} has a lower error at B = {batch} than these is undecided (B* in "
            f"tasks is where the errors are equal): {each}.",
            "Measure more tasks (--tasks) to decide at this batch.",
            "undecided",
        ),
    }[here]
    name = {"above": "exact_is_better", "below": "exact_is_worse", "within": "exact_or_not"}[here]
    rows = tuple(row for pair in group for row in pair)
    return Finding(name, "info", state, claim, repair, rows)


def _from(line: Row) -> str:
    return "(at every B)" if line.high == 0 else f"(B* = {number(line.value)} {interval(line)})"
