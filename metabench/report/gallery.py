"""The figures of a page: each drawn once, beside the first finding that it shows."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from metabench.probes.probe import Drawing
from metabench.report import save
from metabench.report.diagnosis import attempt
from metabench.report.figure import Figure, render
from metabench.rows import Finding, Row

MOST = 12  # figures of a page


class Shown(NamedTuple):
    """A figure with its number, whose cell it is, and the files it can be saved as."""

    name: str
    figure: Figure
    of: str
    svg: str
    csv: str


class Gallery:
    """Draw figures as they are asked for, up to a number; which were left out is counted."""

    def __init__(self, most: int, notes: list[str]) -> None:
        """Begin with none."""
        self.most, self.notes = most, notes
        self.left_out = 0
        self._hung: dict[tuple[int, int], Shown | None] = {}  # (cell, drawing) -> figure

    def hang(self, place: tuple[int, int], drawing: Drawing, of: str, data: pd.DataFrame) -> bool:
        """Draw a figure unless it hangs already, and tell whether it is new."""
        if place in self._hung:
            return False
        drawn = sum(shown is not None for shown in self._hung.values())
        if drawn >= self.most:
            self.left_out += 1
            self._hung[place] = None
            return False
        name = f"figure-{drawn + 1}"
        figure = attempt(lambda: render(name, *drawing[:3]), drawing, "draw", self.notes)
        self._hung[place] = figure and Shown(
            name,
            figure,
            of,
            save.link(save.svg(figure.svg), "image/svg+xml"),
            save.link(save.csv(data), "text/csv"),
        )
        return figure is not None

    def at(self, place: tuple[int, int]) -> Shown | None:
        """Give the figure that hangs at a place, if one does."""
        return self._hung.get(place)


def data_of(drawing: Drawing, table: pd.DataFrame | None) -> pd.DataFrame:
    """Give what a drawing shows: its own data, or the rows of the quantities that it names."""
    if drawing.data is not None:
        return drawing.data
    if table is None:
        return pd.DataFrame()
    rows = table[list(Row._fields)]
    return rows[rows["quantity"].isin(drawing.shows)] if drawing.shows else rows


def showing(drawings: list[Drawing], finding: Finding) -> int | None:
    """Find the drawing that shows what a finding rests on; one that names nothing shows all."""
    quantities = {row.quantity for row in finding.evidence}
    for i, drawing in enumerate(drawings):
        if quantities & set(drawing.shows):
            return i
    return next((i for i, drawing in enumerate(drawings) if not drawing.shows), None)
