"""Was theta trained otherwise than it is looked at here?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metabench.measurement import fingerprints
from metabench.problems.checkpoints import trained_on
from metabench.records.rows import Finding, Row, differences, from_table

if TYPE_CHECKING:
    import pandas as pd

UNTOLD = ("version", "rematerialize")  # settings of a member that don't change what is computed


def theta_differences(file: str, here: Mapping[str, Any]) -> list[Row]:
    """Say, a row each, in which fields a file's theta was trained otherwise than the spec `here`.

    Other fields of another algorithm or family aren't compared, nor how the same is computed.
    """
    told = trained_on(Path(file))
    rows = []
    for part in ("algo", "family"):
        one, other = ({k: v for k, v in of.get(part, {}).items() if k not in UNTOLD}
                      for of in (told, here))  # fmt: skip
        if not one:
            continue
        names = [fingerprints.without_digest(str(of.get("name"))) for of in (one, other)]
        if names[0] != names[1]:
            one, other = {"name": names[0]}, {"name": names[1]}
        else:
            one, other = ({**of, "name": names[0]} for of in (one, other))
        rows += [
            Row("theta", of=said, status="differs")
            for said in differences({part: one}, {part: other})
        ]
    return rows


def findings(table: pd.DataFrame) -> list[Finding]:
    """Warn of a theta that was trained on something else than what it is looked at with."""
    rows = from_table(table, "theta", of=None)
    if not rows:
        return []
    family = [row for row in rows if row.of.startswith("family is ")]
    claim = (
        f"theta was trained otherwise than it is looked at here: {'; '.join(r.of for r in rows)}."
    )
    repair = "Look at it as it was trained, unless the difference is what you ask about."
    level = "warning" if family else "info"
    return [Finding("foreign_theta", level, "fault" if family else "", claim, repair, tuple(rows))]
