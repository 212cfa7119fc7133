"""One HTML file that needs nothing else: findings first, then figures, tables, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.report.figure import render
from metabench.report.text import cell, details, tables
from metabench.rows import Finding, flatten

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.probe import Probe


def page(
    probe: Probe,
    table: pd.DataFrame,
    findings: Sequence[Finding],
    provenance: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> str:
    """Give the page of one measured table, as HTML text.

    Args:
        probe: what measured it; it draws the figure.
        table: its tidy table.
        findings: what `probe.diagnose(table)` said.
        provenance: how the table was made (command, versions, commit), shown at the end.
        spec: the settings it was made with, shown at the end.

    Returns:
        A complete document; it loads nothing and runs no script.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("metabench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = type(probe).__name__.lower()
    drawn = probe.drawings(table)
    names = [name, *(f"{name}-{i}" for i in range(2, len(drawn) + 1))]
    figures = [render(name, *drawing) for name, drawing in zip(names, drawn, strict=True)]
    return environment.get_template("page.html").render(
        title=_title(name, spec or {}),
        question=probe.question,
        findings=[(finding, [(r, cell(r)) for r in finding.evidence]) for finding in findings],
        figures=figures,
        tables=[*tables(table, probe.axis), *details(table)],
        spec=list(flatten(spec or {})),
        provenance=list(flatten(provenance or {})),
    )


def _title(name: str, spec: Mapping[str, Any]) -> str:
    """Name the page so that several are told apart by their tabs."""
    parts = [spec[part]["name"] for part in ("algo", "family") if part in spec]
    return f"metabench {name}" + (f": {' on '.join(parts)}" if parts else "")
