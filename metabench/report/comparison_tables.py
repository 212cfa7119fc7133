"""Which algorithm does best on which family? Tables with intervals, over seeds if several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from metabench.probes.base import Probe
from metabench.records.rows import Row, rows_from_tuples
from metabench.report.evidence import Evidence
from metabench.report.seed_estimates import Estimate, best, combined
from metabench.report.text_tables import Table, TextTable, words

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
    if probe.table_quantities:
        return {name: end for name, end in probe.table_quantities.items() if name in there}
    plain = dict.fromkeys(_named(rows[rows["low"].notna() & (rows["of"] == "")]))
    return dict.fromkeys(list(plain)[:MOST], "")


Estimates = dict[tuple[str, str, str], Estimate]  # (algorithm, family, quantity) -> estimate


def _estimates(
    evidence: Evidence, cells: pd.DataFrame, who: pd.Series[str], names: Mapping[str, str]
) -> Estimates:
    rows = _whole(evidence, cells)
    named = _named(rows)
    rows, named = rows[named.isin(list(names))], named[named.isin(list(names))]
    made = rows_from_tuples(rows[list(Row._fields)].itertuples(index=False))
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
