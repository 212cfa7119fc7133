"""Figures of many cells: curves, and quantities against settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from metabench.probes.base import Drawing, Probe
from metabench.records.rows import Row, rows_from_tuples
from metabench.report.comparison_drawings import lines, points
from metabench.report.comparison_tables import compared
from metabench.report.divergence_maps import maps
from metabench.report.evidence import Evidence
from metabench.report.labels import who_of, without
from metabench.report.quantity_names import words
from metabench.report.seed_estimates import Parts, combined, ratio_parts
from metabench.report.setting_axes import numeric

if TYPE_CHECKING:
    import pandas as pd

MOST_CELLS_DRAWN = 2000  # together, evenly chosen
MOST_FAMILIES = 2  # with figures


def overviews(
    evidence: Evidence, labels: pd.DataFrame, probes: Mapping[str, Probe]
) -> list[Drawing]:
    """Return figures that compare the cells of each probe with two or more cells.

    Args:
        evidence: the cells and their numbers.
        labels: the labels of the cells, by `labels`.
        probes: the probes by name.
    """
    made = []
    for name, probe in probes.items():
        cells = labels[labels["probe"] == name]
        if len(cells) < 2:
            continue
        if len(cells) > MOST_CELLS_DRAWN:  # evenly chosen
            cells = cells.iloc[
                [i * len(cells) // MOST_CELLS_DRAWN for i in range(MOST_CELLS_DRAWN)]
            ]
        rows = evidence.rows[evidence.rows["cell"].isin(cells.index)]
        families = cells["family"].str.partition(", ")[0]
        for family in list(dict.fromkeys(families))[:MOST_FAMILIES]:
            part = cells[families == family]
            there = rows[rows["cell"].isin(part.index)]
            on = f" on {family}" if family else ""
            made += _curves(probe, there, part, on)
            made += _against_settings(evidence, probe, there, part, on)
            made += maps(evidence, probe, there, part, on)
    return made


def _curves(probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame, on: str) -> list[Drawing]:
    """Draw each of `probe.x_axis_quantities` against the axis, with a line per algorithm."""
    made = []
    who = who_of(cells)
    for quantity in probe.x_axis_quantities:
        part = rows[(rows["quantity"] == quantity) & rows["at"].notna() & _is_total(rows)]
        data = _gathered(part, part["cell"].map(who), part["at"], {})
        if len(data) and data["algorithm"].nunique() > 1:
            title = f"{words(quantity)} against {probe.axis}{on}"
            made.append(lines(title, data, probe.axis, quantity))
    return made


def _against_settings(
    evidence: Evidence, probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame, on: str
) -> list[Drawing]:
    """Draw each compared quantity against each numeric setting, or as points if there is none."""
    made = []
    names = compared(evidence, cells, probe)
    axes = numeric(evidence, cells)
    for name in names:
        quantity, _, of = name.partition(", ")
        part = rows[(rows["quantity"] == quantity) & (rows["of"] == of) & rows["at"].isna()]
        part = part[part["layer"] == ""]
        if not part["value"].notna().any():
            continue
        parts = ratio_parts(rows, name)
        for axis in axes:
            who = without(cells, axis)
            x = part["cell"].map(evidence.cells[axis].astype(float))
            data = _gathered(part, part["cell"].map(who), x, parts)
            if data["value"].notna().sum() > 1:
                label = axis.rpartition(".")[2]
                made.append(lines(f"{words(name)} against {words(label)}{on}", data, label, name))
        if not axes and cells["algo"].nunique() > 1:
            who = who_of(cells)
            data = _gathered(part, part["cell"].map(who), part["cell"] * 0.0, parts)
            made.append(points(f"{words(name)}{on}", data, name))
    return made


def _gathered(
    rows: pd.DataFrame, who: pd.Series[str], x: pd.Series[float], parts: Mapping[int, Parts]
) -> pd.DataFrame:
    """Combine seeds: a line of `algorithm`, `x`, value, low, high for each condition."""
    import pandas as pd

    groups: dict[tuple[str, float], list[tuple[int, Row]]] = {}
    made = rows_from_tuples(rows[list(Row._fields)].itertuples(index=False))
    for name, place, cell, row in zip(who, x, rows["cell"], made, strict=True):
        groups.setdefault((name, place), []).append((cell, row))
    found = []
    for key, part in groups.items():
        cells, of_seeds = zip(*part, strict=True)
        pairs = [parts.get(cell) for cell in cells] if parts else ()
        found.append((*key, *combined(of_seeds, pairs)[:3]))
    table = pd.DataFrame(found, columns=["algorithm", "x", "value", "low", "high"])
    return table.astype(dict.fromkeys(("x", "value", "low", "high"), float))


def _is_total(rows: pd.DataFrame) -> pd.Series[bool]:
    return (rows["of"] == "") & (rows["layer"] == "")
