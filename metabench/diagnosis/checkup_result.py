"""What a checkup from Python returns: faults, findings, verdict, table, page, parts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.diagnosis import page, save
from metabench.diagnosis.causes import Fault
from metabench.diagnosis.checkup import Checkup
from metabench.diagnosis.checkup_verdict import checkup_verdict
from metabench.measurement.result import Result
from metabench.records import csv_text
from metabench.records.provenance import provenance
from metabench.records.rows import Finding
from metabench.report.notebook import notebook_html
from metabench.report.saved_files import save_as
from metabench.report.settings_line import settings_line
from metabench.report.text_tables import TextTable

if TYPE_CHECKING:
    import pandas as pd

COMMAND = "mb.diagnose(..), from Python"  # in the place of a command in provenance


@dataclass(frozen=True, repr=False, eq=False)
class CheckupResult:
    """The result of a checkup: what was found by all probes, in order of severity.

    >>> import metabench as mb
    >>> found = mb.diagnose("quadratic", budget="20s", probes=["verify"], steps=0)
    >>> found.parts["verify"].verdict
    'No problem found, 1 fine (verified).'
    """

    checkup: Checkup
    settings: dict[str, Any]
    about: str  # what adapts and what is learned, a sentence
    device: str

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings: faults, trials, remarks."""
        return tuple(each.finding for each in self.checkup.ordered_findings)

    @property
    def faults(self) -> list[Fault]:
        """Causes with their findings, the most severe first."""
        return self.checkup.faults

    @property
    def coverage(self) -> str:
        """How many probes were measured, and which were not and why."""
        return self.checkup.coverage

    @property
    def verdict(self) -> str:
        """How much was measured, then what is wrong or that no fault was found."""
        return checkup_verdict(self.checkup)

    @property
    def measured(self) -> str:
        """What was measured: algorithm, family, K, alpha, B, shots, theta, seed."""
        return f"diagnose of {settings_line(self.settings)}"

    @property
    def parts(self) -> dict[str, Result]:
        """The result of each probe that was measured, by the probe's name."""
        return {
            part.name: Result(
                part.measurement, part.rows, tuple(part.findings), part.settings, self.about
            )
            for part in self.checkup.parts
            if part.rows
        }

    @property
    def table(self) -> pd.DataFrame:
        """The tidy table of all probes."""
        return save.table(self.checkup)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Save the page, the table or the record, or a folder of them.

        Args:
            path: ends in .html, .csv or .json; a path without an ending is a folder.

        Returns:
            The path.

        Raises:
            InvalidInput: if the ending is another, or the path can't be written.
        """
        texts = {".json": self._record, ".csv": self._csv, ".html": self._page}
        return save_as(path, texts)

    def _record(self) -> str:
        return save.record(self.checkup, self.settings, self._provenance()) + "\n"

    def _csv(self) -> str:
        text: str = csv_text.to_csv(self.table)
        return text

    def _page(self) -> str:
        return page.page(self.checkup, self.settings, self._provenance(), self.about)

    def _provenance(self) -> dict[str, Any]:
        return {**provenance(self.device), "command": COMMAND}

    def _repr_html_(self) -> str:
        """Return the verdict, the findings and the trials, for notebooks."""
        trials = save.trials(self.checkup) or TextTable((), ())
        return notebook_html(self.measured, self.verdict, self.findings, trials)

    def __repr__(self) -> str:
        """Return what was measured, how much of it, and the verdict."""
        return f"<{self.measured}. {self.verdict}>"
