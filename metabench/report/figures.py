"""Figures of a page, each drawn once, beside the first finding that it supports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from metabench.probes.base import Drawing
from metabench.records.rows import Finding, Row
from metabench.report import downloads
from metabench.report.findings import attempt
from metabench.report.svg import Figure, render

MOST_FIGURES = 12  # of a page


class FigureRef(NamedTuple):
    """A numbered figure with heading, caption and download links."""

    name: str
    figure: Figure
    heading: str
    caption: str  # "" if an earlier figure has the same
    alike: str  # name of the figure with the caption
    svg: str
    csv: str


class Gallery:
    """Draws figures on request up to a number, and counts those left out."""

    def __init__(self, most: int, notes: list[str]) -> None:
        """Create an empty gallery of at most `most` figures; `notes` collects errors."""
        self.most, self.notes = most, notes
        self.left_out = 0
        self._captions: dict[str, str] = {}  # caption -> the first figure that has it
        self._hung: dict[tuple[int, int], FigureRef | None] = {}  # (cell, drawing) -> figure

    def hang(self, hook: Hook) -> bool:
        """Draw a figure unless it is drawn already; return whether it is new."""
        place, drawing, of, data = hook
        if place in self._hung:
            return False
        drawn = sum(shown is not None for shown in self._hung.values())
        if drawn >= self.most:
            self.left_out += 1
            self._hung[place] = None
            return False
        name = f"figure-{drawn + 1}"
        figure = attempt(lambda: render(name, *drawing[:3]), drawing, "draw", self.notes)
        self._hung[place] = figure and FigureRef(
            name,
            figure,
            _heading(drawn + 1, drawing.title, of),
            "" if drawing.caption in self._captions else drawing.caption,
            self._captions.setdefault(drawing.caption, name),
            downloads.link(downloads.svg(figure.svg), "image/svg+xml"),
            downloads.link(downloads.csv(data), "text/csv"),
        )
        return figure is not None

    def at(self, hook: Hook) -> FigureRef | None:
        """Return the figure drawn at a hook, if there is one."""
        return self._hung.get(hook.place)

    def rest(self, hooks: Sequence[Hook]) -> list[FigureRef]:
        """Draw the figures that are not drawn yet, and return them."""
        new = [hook for hook in hooks if self.hang(hook)]
        return [shown for hook in new if (shown := self.at(hook))]


def _heading(number: int, title: str, of: str) -> str:
    """Write "Figure 1. How noisy? Of maml on sinusoid."."""
    stop = "" if title.endswith(("?", ".", "!")) else "."
    return f"Figure {number}. {title}{stop}" + (f" Cell: {of}." if of else "")


def data_of(drawing: Drawing, table: pd.DataFrame | None) -> pd.DataFrame:
    """Return a drawing's data: its own, or the rows of the quantities that it shows."""
    if drawing.data is not None:
        return drawing.data
    if table is None:
        return pd.DataFrame()
    rows = table[list(Row._fields)]
    return rows[rows["quantity"].isin(drawing.shows)] if drawing.shows else rows


class Hook(NamedTuple):
    """A drawing and its place: (cell, index in the cell); cell -1 is all cells."""

    place: tuple[int, int]
    drawing: Drawing
    of: str
    data: pd.DataFrame


def hooks(
    cell: int, drawings: Sequence[Drawing], table: pd.DataFrame | None, of: str
) -> list[Hook]:
    """Return a hook for each drawing of a cell.

    Args:
        cell: the cell's line, or -1 for all cells.
        drawings: its drawings.
        table: its tidy table, the data of drawings without their own.
        of: the cell's label.
    """
    return [Hook((cell, i), d, of, data_of(d, table)) for i, d in enumerate(drawings)]


def showing(own: Sequence[Hook], all_cells: Sequence[Hook], finding: Finding) -> Hook | None:
    """Return the hook of the drawing that shows a finding's evidence, if there is one.

    A drawing that names its quantities shows a finding if it draws a row of the finding: the same
    quantity, source and layer. One that names none shows it only if it is the cell's only drawing.

    Args:
        own: drawings of the finding's cell.
        all_cells: drawings of all cells.
        finding: the finding.
    """
    quantities = {row.quantity for row in finding.evidence}
    for hook in own:
        if quantities & {*hook.drawing.shows} and _draws(hook, finding):
            return hook
    if len(own) == 1 and not own[0].drawing.shows:
        return own[0]
    return next((hook for hook in all_cells if quantities & {*hook.drawing.shows}), None)


def _draws(hook: Hook, finding: Finding) -> bool:
    """Return whether a row of the finding's evidence is among a drawing's rows with a number."""
    if not {"quantity", "of", "layer"} <= {*map(str, hook.data)}:
        return True  # data of another form: only the quantities are known
    drawn = hook.data[hook.data["value"].notna()]
    there = set(zip(drawn["quantity"], drawn["of"], drawn["layer"], strict=True))
    rows = {row for row in finding.evidence if row.quantity in hook.drawing.shows}
    return any((row.quantity, row.of, row.layer) in there for row in rows)
