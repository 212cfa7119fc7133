"""Differences between the settings that theta was trained with and those of a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.problems.checkpoints import trained_on
from metabench.records.rows import Finding, Row, differences, from_table
from metabench.settings.printed_names import printed_name

if TYPE_CHECKING:
    import pandas as pd

NOT_COMPARED = (
    "version",
    "rematerialize",
)  # settings that change no numbers


def theta_differences(file: str, here: Mapping[str, Any]) -> list[Row]:
    """Return one row for each setting in which theta was trained differently from `here`.

    Fields of another algorithm or family are not compared, nor those that do not change numbers.
    """
    there = trained_on(Path(file))
    rows = []
    for part in ("algo", "family"):
        one, other = ({k: v for k, v in of.get(part, {}).items() if k not in NOT_COMPARED}
                      for of in (there, here))  # fmt: skip
        if not one:
            continue
        names = [printed_name(str(of.get("name"))) for of in (one, other)]
        if names[0] != names[1]:
            one, other = {"name": names[0]}, {"name": names[1]}
        else:
            one, other = ({**of, "name": names[0]} for of in (one, other))
        rows += [
            Row("theta", of=text, status="differs")
            for text in differences({part: one}, {part: other})
        ]
    return rows


def findings(table: pd.DataFrame) -> list[Finding]:
    """Return a finding if theta was trained with other settings."""
    rows = from_table(table, "theta", of=None)
    if not rows:
        return []
    family = [row for row in rows if row.of.startswith("family is ")]
    claim = f"theta was trained with other settings: {'; '.join(r.of for r in rows)}."
    repair = "Measure with the settings of the training, unless the difference is intended."
    level = "warning" if family else "info"
    return [Finding("foreign_theta", level, "fault" if family else "", claim, repair, tuple(rows))]
