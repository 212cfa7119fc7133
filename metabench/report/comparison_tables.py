"""Which algorithm does best on which family? Tables with intervals, over seeds if several."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from scipy.special import stdtrit

from metabench.probes.base import Probe
from metabench.records.rows import Row, rows_of
from metabench.report.evidence import FINE, Evidence
from metabench.report.labels import said
from metabench.report.text_tables import REASONS, TextTable, number, words

if TYPE_CHECKING:
    import pandas as pd

LINES = 100  # algorithms with a line
MOST = 6  # quantities that are compared where a probe names none
HOW = (
    "Of one seed, a number and its interval are the probe's own. Of several, the mean over seeds "
    "and Student's t interval of that mean, which holds the differences between seeds (initial "
    "theta and tasks) too. A number is marked best where its interval lies apart from every other "
    "in its column."
)


class Estimate(NamedTuple):
    """A number over the seeds of one condition; what isn't there has a reason."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0  # seeds with a number
    lacking: tuple[str, ...] = ()  # the status of each seed without

    def __str__(self) -> str:
        """Write the number, its interval, and how many seeds have none."""
        left = len(self.lacking)
        why = " or ".join(dict.fromkeys(REASONS.get(s, s) for s in self.lacking))
        if self.value is None:
            return why
        text = number(self.value)
        if self.low is not None or self.high is not None:
            ends = ("unbounded" if end is None else number(end) for end in (self.low, self.high))
            text += f" [{', '.join(ends)}]"
        return text + (f" ({left} of {left + self.seeds} seeds {why})" if left else "")


class Table(NamedTuple):
    """A table of the page: words above it, text, and the places of what is best."""

    name: str  # of its files
    caption: str
    text: TextTable
    best: frozenset[tuple[int, int]] = frozenset()


def combined(rows: Sequence[Row | str]) -> Estimate:
    """Join the seeds of one condition; a text stands for a seed without the row, and says why.

    >>> str(combined([Row("v", value=1.0), Row("v", value=3.0), "error"]))
    '2 [-10.7, 14.7] (1 of 3 seeds error)'
    """
    there = [r for r in rows if isinstance(r, Row) and r.value is not None]
    lacking = tuple(r.status if isinstance(r, Row) else r for r in rows if r not in there)
    if len(there) == 1:
        return Estimate(there[0].value, there[0].low, there[0].high, 1, lacking)
    if not there:
        return Estimate(lacking=lacking)
    values = [r.value for r in there if r.value is not None]
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * spread / len(values) ** 0.5
    return Estimate(mean, mean - half, mean + half, len(values), lacking)


def comparisons(
    evidence: Evidence, labels: pd.DataFrame, probes: Mapping[str, Probe]
) -> list[Table]:
    """Lay out the compared quantities of each probe: a table each, or one of a single family."""
    made = []
    for name, probe in probes.items():
        cells = labels[labels["probe"] == name]
        who = cells["algo"] + ("; " + cells["other"]).where(cells["other"] != "", "")
        names = who.drop_duplicates()
        if len(names) > LINES:
            cells = cells[who.isin(names[:LINES])]
            who = who[cells.index]
        if who.nunique() < 2 and cells["family"].nunique() < 2:
            continue
        found = _estimates(evidence, cells, who, compared(evidence, cells, probe))
        cut = f", the first {LINES} of {len(names):,}" if len(names) > LINES else ""
        tables = _laid_out(name, found, compared(evidence, cells, probe))
        made += [table._replace(caption=table.caption + cut) for table in tables]
    return made


def compared(evidence: Evidence, cells: pd.DataFrame, probe: Probe) -> dict[str, str]:
    """Name the quantities to compare, and the better end of each."""
    rows = _whole(evidence, cells)
    there = dict.fromkeys(_named(rows))
    if probe.compared:
        return {name: end for name, end in probe.compared.items() if name in there}
    plain = dict.fromkeys(_named(rows[rows["low"].notna() & (rows["of"] == "")]))
    return dict.fromkeys(list(plain)[:MOST], "")


def best(column: Sequence[Estimate], end: str) -> int | None:
    """Find the estimate whose interval lies apart from all others', on the better side.

    What has diverged is no rival; what is unknown for another reason may be better.
    """
    rivals = {i: e for i, e in enumerate(column) if set(e.lacking) != {"diverged"} or e.seeds}
    if end not in ("low", "high") or len(rivals) < 2:
        return None
    spans = {i: span for i, e in rivals.items() if (span := _span(e, end))}
    if len(spans) < len(rivals):
        return None
    first = min(spans, key=lambda i: spans[i].worst)
    apart = all(spans[first].worst < span.best for i, span in spans.items() if i != first)
    return first if apart and not column[first].lacking else None


class _Span(NamedTuple):
    """An interval on an axis where less is better."""

    best: float
    worst: float


def _span(estimate: Estimate, end: str) -> _Span | None:
    """Lay out an interval by the better end; None where an end is missing."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return None
    return _Span(low, high) if end == "low" else _Span(-high, -low)


Estimates = dict[tuple[str, str, str], Estimate]  # (algorithm, family, quantity) -> estimate


def _estimates(
    evidence: Evidence, cells: pd.DataFrame, who: pd.Series[str], names: Mapping[str, str]
) -> Estimates:
    rows = _whole(evidence, cells)
    named = _named(rows)
    rows, named = rows[named.isin(list(names))], named[named.isin(list(names))]
    made = rows_of(rows[list(Row._fields)].itertuples(index=False))
    there = {(cell, name): row for cell, name, row in zip(rows["cell"], named, made, strict=True)}
    groups: dict[tuple[str, str], list[int]] = {}
    for cell in cells.index:
        groups.setdefault((who[cell], cells["family"][cell]), []).append(cell)
    outcomes = evidence.cells["outcome"]
    lacking = {c: o if (o := str(outcomes[c])) != "ok" else "not measured" for c in cells.index}
    return {
        (*group, name): combined([there.get((cell, name), lacking[cell]) for cell in members])
        for group, members in groups.items()
        for name in names
    }


def _laid_out(probe: str, found: Estimates, names: Mapping[str, str]) -> list[Table]:
    algorithms = list(dict.fromkeys(a for a, _, _ in found))
    families = list(dict.fromkeys(f for _, f, _ in found))
    if len(families) == 1:
        columns = [(families[0], name) for name in names]
        caption = f"{words(probe)} on {families[0]}" if families[0] else words(probe)
        heads = [_head(name, end) for name, end in names.items()]
        return [_table(probe, caption, algorithms, columns, heads, found, names)]
    made = []
    for name, end in names.items():
        columns = [(family, name) for family in families]
        key = f"{probe}-{name}".replace(", ", "-")
        made.append(_table(key, _head(name, end), algorithms, columns, families, found, names))
    return made


def _table(
    key: str,
    caption: str,
    algorithms: Sequence[str],
    columns: Sequence[tuple[str, str]],
    heads: Sequence[str],
    found: Estimates,
    names: Mapping[str, str],
) -> Table:
    grid = [
        [found.get((a, family, name), Estimate(lacking=("",))) for family, name in columns]
        for a in algorithms
    ]
    marks = set()
    for j, (_, name) in enumerate(columns):
        i = best([line[j] for line in grid if line[j].lacking != ("",)], names[name])
        if i is not None:
            there = [k for k, line in enumerate(grid) if line[j].lacking != ("",)]
            marks.add((there[i], j + 1))
    lines = tuple((a, *map(str, line)) for a, line in zip(algorithms, grid, strict=True))
    return Table(key, caption, TextTable(("algorithm", *heads), lines), frozenset(marks))


def _head(name: str, end: str) -> str:
    return words(name) + (f" ({end} is better)" if end else "")


def _whole(evidence: Evidence, cells: pd.DataFrame) -> pd.DataFrame:
    rows = evidence.rows
    return rows[rows["at"].isna() & (rows["layer"] == "") & rows["cell"].isin(cells.index)]


def _named(rows: pd.DataFrame) -> pd.Series[str]:
    return rows["quantity"] + (", " + rows["of"]).where(rows["of"] != "", "")


def failures(evidence: Evidence, labels: pd.DataFrame) -> Table | None:
    """List the cells without a result, and why."""
    failed = evidence.cells[~evidence.cells["outcome"].isin(FINE)]
    if not len(failed):
        return None
    told = (failed[name].map(said) for name in ("outcome", "error", "digest"))
    lines = tuple(
        (label, outcome, error, f"metabench cell {digest}" if digest else "")
        for label, outcome, error, digest in zip(labels["label"][failed.index], *told, strict=True)
    )
    header = ("cell", "outcome", "reason", "to see it again")
    return Table("failed", "Cells without a result", TextTable(header, lines))
