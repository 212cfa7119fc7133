"""`metabench compare RUN RUN`: two past runs, quantity by quantity."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import click

from metabench.cli.terminal import print_json, print_table
from metabench.records.number_format import interval_text, number
from metabench.records.past_runs import Run, find_run
from metabench.records.rows import Row, differences
from metabench.report.quantity_names import label
from metabench.report.settings_line import settings_line
from metabench.report.text_tables import TextTable, cell
from metabench.report.verdict import verdict
from metabench.settings.errors import InvalidInput
from metabench.stats.differences import difference
from metabench.stats.intervals import Interval

MOST_LINES = 40  # --json gives all
SAME_TASKS = (
    "Both were measured on the same tasks. Records hold no numbers of single tasks, so an interval "
    "of a difference is the widest that any correlation allows; a paired one would be narrower."
)
OTHER_TASKS = "The tasks differ: intervals of differences are those of independent numbers."


class Line(NamedTuple):
    """One quantity of two runs, and the second minus the first."""

    a: Row
    b: Row
    difference: Interval | None  # None where a number is missing

    @property
    def equal(self) -> bool:
        """Whether number and interval are the same in both."""
        return self.a[4:7] == self.b[4:7]

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.difference is not None and not (
            self.difference.low <= 0 <= self.difference.high
        )


def compare_runs(a: str, b: str, as_json: bool) -> None:
    """Print the quantities of two runs side by side, with differences and their intervals.

    Args:
        a: name of the first run.
        b: name of the second.
        as_json: print JSON instead of text.
    """
    first, second = find_run(a), find_run(b)
    probes = [(run.record.settled.get("probe") or {}).get("name") for run in (first, second)]
    if probes[0] != probes[1] or probes[0] is None:
        raise InvalidInput(
            f"{first.folder.name} is of {probes[0] or 'no probe'} and {second.folder.name} of "
            f"{probes[1] or 'no probe'}; give two runs of one probe."
        )
    same = _same_tasks(first, second)
    lines = _lines(first, second, same)
    if as_json:
        print_json(_plain(first, second, same, lines))
    else:
        _print_comparison(first, second, same, lines)


def _print_comparison(first: Run, second: Run, same: bool, lines: list[Line]) -> None:
    """Print both runs, the settings in which they differ, and the numbers, differing ones first.

    Args:
        first: run A.
        second: run B.
        same: whether they were measured on the same tasks.
        lines: the numbers that both have.
    """
    for word, run in (("A", first), ("B", second)):
        click.echo(f"{word}  {run.folder.name}: {settings_line(run.record.settled)}")
        click.echo(f"   {verdict(run.findings)}")
    settings = differences(first.record.spec, second.record.spec)
    differing = [
        each.replace(" there and ", " in A and ")[: -len("here")] + "in B" for each in settings
    ]
    click.echo("   " + ("; ".join(differing) or "The settings are equal") + ".")
    click.echo(f"\n{SAME_TASKS if same else OTHER_TASKS}\n")
    moved = sorted((line for line in lines if not line.equal), key=lambda line: not line.differs)
    shown = tuple(_texts(line) for line in moved[:MOST_LINES])
    print_table(TextTable(("quantity", "A", "B", "B - A with interval", ""), shown))
    if len(moved) > MOST_LINES:
        click.echo(f"... and {len(moved) - MOST_LINES} more: --json gives all")
    if equal := len(lines) - len(moved):
        click.echo(f"{equal} other numbers and their intervals are equal.")


def _same_tasks(first: Run, second: Run) -> bool:
    """Return whether both runs drew the same tasks: by family, seed, dtype and their number."""
    one, other = (run.record.settled for run in (first, second))
    return all(one.get(key) == other.get(key) for key in ("family", "seed"))


def _lines(first: Run, second: Run, same: bool) -> list[Line]:
    """Return the numbers with an interval in either run that both have; times are left out."""
    others = {(r.quantity, r.at, r.of, r.layer): r for r in second.record.rows}
    pairs = [(r, others.get((r.quantity, r.at, r.of, r.layer))) for r in first.record.rows]
    return [
        Line(one, other, _difference(one, other, same))
        for one, other in pairs
        if other is not None and not one.layer and "seconds" not in one.quantity
        if one.low is not None or other.low is not None
    ]


def _difference(one: Row, other: Row, same: bool) -> Interval | None:
    if one.value is None or other.value is None:
        return None
    return difference(_interval(one), _interval(other), same)


def _interval(row: Row) -> Interval:
    """Return a row's interval; an end that is missing is unbounded."""
    assert row.value is not None
    low = -math.inf if row.low is None else row.low
    high = math.inf if row.high is None else row.high
    return Interval(row.value, low, high)


def _texts(line: Line) -> tuple[str, ...]:
    name = label(line.a.quantity, line.a.of)
    at = "" if line.a.at is None else f" (at {number(line.a.at)})"
    found = line.difference
    text = "" if found is None else f"{number(found.value)} {_ends(found)}"
    return f"{name}{at}", cell(line.a), cell(line.b), text, "differs" if line.differs else ""


def _ends(found: Interval) -> str:
    return interval_text(_finite(found.low), _finite(found.high))


def _plain(first: Run, second: Run, same: bool, lines: list[Line]) -> dict[str, Any]:
    return {
        "a": first.folder.name,
        "b": second.folder.name,
        "same_tasks": same,
        "settings": differences(first.record.spec, second.record.spec),
        "quantities": [_plain_line(line) for line in lines],
    }


def _plain_line(line: Line) -> dict[str, Any]:
    ends = None if line.difference is None else [_finite(end) for end in line.difference]
    place = {key: getattr(line.a, key) for key in ("quantity", "at", "of")}
    numbers = {"a": line.a.value, "b": line.b.value, "difference": ends}
    return {**place, **numbers, "differs": line.differs}


def _finite(end: float) -> float | None:
    return end if math.isfinite(end) else None
