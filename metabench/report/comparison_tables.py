"""Tables that compare algorithms on families, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from metabench.probes.base import Probe
from metabench.records.rows import Row, rows_from_tuples
from metabench.report.evidence import Evidence
from metabench.report.quantity_names import words
from metabench.report.seed_estimates import Estimate, best, combined, ratio_parts
from metabench.report.text_tables import Table, TextTable

if TYPE_CHECKING:
    import pandas as pd

MOST_LINES = 100  # of a table
MOST_QUANTITIES = 6  # compared if a probe names none
HOW = (
    "With one seed, numbers and intervals are the probe's. Two or three seeds are listed, "
    "without an interval. From four seeds on, a number is the mean of raw values over seeds, "
    "with Student's t interval of the mean over other seeds (random effects: other initial "
    "theta and tasks), at least as wide as the seeds' own intervals imply (Hartung-Knapp) and "
    "cut off at 0 where the quantity can't be negative. The noise scale is the ratio of the "
    "averages of total variance and squared mean norm, with Fieller's interval. Where a seed "
    "diverged or is unbounded, and for other ratios, the median is given. A number is marked "
    "best if its interval overlaps no other interval of its column."
)


def comparisons(
    evidence: Evidence, labels: pd.DataFrame, probes: Mapping[str, Probe]
) -> list[Table]:
    """Return tables of each probe's compared quantities: one each, or one if one family.

    Args:
        evidence: the cells and their numbers.
        labels: the labels of the cells, by `labels`.
        probes: the probes by name.
    """
    made = []
    for name, probe in probes.items():
        cells = labels[labels["probe"] == name]
        who = cells["algo"] + ("; " + cells["other"]).where(cells["other"] != "", "")
        names = who.drop_duplicates()
        if len(names) > MOST_LINES:
            cells = cells[who.isin(names[:MOST_LINES])]
            who = who[cells.index]
        if who.nunique() < 2 and cells["family"].nunique() < 2:
            continue
        found = _estimates(evidence, cells, who, compared(evidence, cells, probe))
        cut = f", the first {MOST_LINES} of {len(names):,}" if len(names) > MOST_LINES else ""
        tables = _laid_out(name, found, compared(evidence, cells, probe))
        made += [table._replace(caption=table.caption + cut) for table in tables]
    return made


def compared(evidence: Evidence, cells: pd.DataFrame, probe: Probe) -> dict[str, str]:
    """Return the quantities to compare, each with its better end: "low", "high" or "".

    Args:
        evidence: the cells and their numbers.
        cells: labels of the probe's cells.
        probe: the probe.
    """
    rows = _rows_of_whole(evidence, cells)
    there = dict.fromkeys(_quantity_names(rows))
    if probe.table_quantities:
        return {name: end for name, end in probe.table_quantities.items() if name in there}
    plain = dict.fromkeys(_quantity_names(rows[rows["low"].notna() & (rows["of"] == "")]))
    return dict.fromkeys(list(plain)[:MOST_QUANTITIES], "")


Estimates = dict[tuple[str, str, str], Estimate]  # (algorithm, family, quantity) -> estimate


def _estimates(
    evidence: Evidence, cells: pd.DataFrame, who: pd.Series[str], names: Mapping[str, str]
) -> Estimates:
    rows = _rows_of_whole(evidence, cells)
    named = _quantity_names(rows)
    rows, named = rows[named.isin(list(names))], named[named.isin(list(names))]
    made = rows_from_tuples(rows[list(Row._fields)].itertuples(index=False))
    there = {(cell, name): row for cell, name, row in zip(rows["cell"], named, made, strict=True)}
    groups: dict[tuple[str, str], list[int]] = {}
    for cell in cells.index:
        groups.setdefault((who[cell], cells["family"][cell]), []).append(cell)
    outcomes = evidence.cells["outcome"]
    lacking = {c: o if (o := str(outcomes[c])) != "ok" else "not measured" for c in cells.index}
    whole = _rows_of_whole(evidence, cells)
    parts = {name: ratio_parts(whole, name) for name in names}
    return {
        (*group, name): combined(
            [there.get((cell, name), lacking[cell]) for cell in members],
            [parts[name].get(cell) for cell in members] if parts[name] else (),
        )
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


def _rows_of_whole(evidence: Evidence, cells: pd.DataFrame) -> pd.DataFrame:
    rows = evidence.rows
    return rows[rows["at"].isna() & (rows["layer"] == "") & rows["cell"].isin(cells.index)]


def _quantity_names(rows: pd.DataFrame) -> pd.Series[str]:
    return rows["quantity"] + (", " + rows["of"]).where(rows["of"] != "", "")
