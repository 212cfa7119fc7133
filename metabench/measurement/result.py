"""What a measurement from Python returns: table, findings, verdict, quantities, figure, page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.measurement.measurement import Measurement
from metabench.probes.base import Probe
from metabench.records import csv_text
from metabench.records import record as records
from metabench.records.provenance import provenance
from metabench.records.rows import Finding, Row, to_table
from metabench.report import (
    canvas,
    headline,
    notebook,
    page,
    quantity,
    saved_files,
    settings_line,
    svg,
    verdict,
)
from metabench.report.quantity import Quantity
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COMMAND = "mb.measure(..), from Python"  # in the place of a command in provenance


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """The result of one measurement.

    A quantity of the table is an attribute: its value with its 95 % interval, of all of theta.

    >>> import metabench as mb
    >>> result = mb.variance("quadratic", tasks=64, redrawn_tasks=0, dtype="float64")
    >>> result.noise_scale.low < result.noise_scale.value < result.noise_scale.high
    True
    >>> result.quantity("variance", at=2).status
    'ok'
    """

    measurement: Measurement  # as it was asked for
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]  # the most severe first
    settings: dict[str, Any]  # all settings, with what `auto` became
    about: str  # what adapts and what is learned, a sentence
    notes: tuple[str, ...] = ()  # sentences on how it was measured

    @property
    def probe(self) -> Probe:
        """The probe, with its settings."""
        return self.measurement.probe

    @property
    def table(self) -> pd.DataFrame:
        """The tidy table: one measured number a row, with the settings as columns."""
        return to_table(self.rows, self.settings)

    @property
    def verdict(self) -> str:
        """One sentence that counts and names the findings."""
        return verdict.verdict(self.findings)

    @property
    def measured(self) -> str:
        """What was measured: probe, algorithm, family, K, alpha, B, shots, tasks, theta, seed."""
        name = self.settings["probe"]["name"].rpartition(":")[2].lower()
        return f"{name} of {settings_line.settings_line(self.settings)}"

    @property
    def headline(self) -> pd.DataFrame:
        """The few numbers that the command prints, as text with intervals and meanings."""
        import pandas as pd

        shown = headline.headline(self.table, self.probe)
        return pd.DataFrame(list(shown.lines), columns=list(shown.header))

    def quantity(
        self, name: str, of: str | None = None, at: float | None = None, layer: str = ""
    ) -> Quantity:
        """Return one number with its interval.

        Args:
            name: of the quantity, such as `noise_scale`.
            of: its source, method or objective; None: the whole.
            at: the value of the probe's axis, such as B.
            layer: a layer; "" is all of theta.

        Raises:
            InvalidInput: if there is none, or there are several; it shows the choices.
        """
        return quantity.quantity(self.table, name, of, at, layer)

    def __getattr__(self, name: str) -> Quantity:
        """Return the quantity of this name."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.quantity(name)
        except quantity.AmbiguousQuantity:
            raise
        except InvalidInput as error:
            raise AttributeError(str(error)) from error

    def __dir__(self) -> list[str]:
        """List the attributes and the quantities."""
        whole = [row.quantity for row in self.rows if not row.layer]
        return sorted({*super().__dir__(), *whole})

    def figure(self, which: int | str = 0) -> Figure:
        """Return a figure of the page, as matplotlib's.

        Args:
            which: its number, from 0, or a word of its title.

        Raises:
            InvalidInput: if there is no such figure; lists the titles.
        """
        drawings = self.probe.drawings(self.table)
        for i, drawing in enumerate(drawings):
            if which == i or (isinstance(which, str) and which.lower() in drawing.title.lower()):
                return canvas.canvas(drawing.draw)
        titles = "; ".join(f"{i}: {drawing.title}" for i, drawing in enumerate(drawings))
        raise InvalidInput(f"There is no figure {which!r}; there are {titles}")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the result: a page, a table, a record, the first figure, or a folder of them.

        Args:
            path: ends in .html, .csv, .json, .svg, .png or .pdf; a path without an ending is a
                folder with the page, the table and the record, as a command writes it.

        Returns:
            The path.

        Raises:
            InvalidInput: if the ending is another, or the path can't be written.
        """
        texts = {".html": self._page, ".csv": self._csv, ".json": self._record}
        return saved_files.save_as(path, texts, self.figure)

    def _page(self) -> str:
        made, summary = self._provenance(), " ".join((self.about, *self.notes))
        return page.page(self.probe, self.table, self.findings, made, self.settings, summary)

    def _csv(self) -> str:
        text: str = csv_text.to_csv(self.table)
        return text

    def _record(self) -> str:
        more = {"settled": self.settings}
        asked, made = self.measurement.spec(), self._provenance()
        return records.text(records.compose(asked, self.rows, self.findings, made, more)) + "\n"

    def _provenance(self) -> dict[str, Any]:
        return {**provenance(self.measurement.device), "command": COMMAND}

    def _repr_html_(self) -> str:
        """Return the verdict, the findings, the headline numbers and a figure, for notebooks."""
        drawings = self.probe.drawings(self.table)
        first = svg.render("metabench", *drawings[0][:3]).svg if drawings else ""
        numbers = headline.headline(self.table, self.probe)
        return notebook.notebook_html(self.measured, self.verdict, self.findings, numbers, first)

    def __repr__(self) -> str:
        """Return what was measured and the verdict."""
        return f"<{self.measured}. {self.verdict}>"


def result_of(
    asked: Measurement, settled: Measurement, rows: Sequence[Row], notes: Sequence[str]
) -> Result:
    """Return the result of a measurement.

    Args:
        asked: the measurement with its settings as given.
        settled: the same with every `auto` resolved.
        rows: what was measured.
        notes: sentences on how it was measured.
    """
    settings = settled.spec()
    findings = settled.find(to_table(rows, settings))
    about = settled.adapted_and_learned()
    return Result(asked, tuple(rows), tuple(findings), settings, about, tuple(notes))
