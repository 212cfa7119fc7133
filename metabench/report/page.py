"""One HTML file that needs nothing else: findings first, then figures, tables, provenance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.records.rows import Finding, flatten
from metabench.report import downloads
from metabench.report.comparison_tables import HOW, LINES
from metabench.report.figures import MOST, FigureRef, Gallery, Hook, hooks, showing
from metabench.report.findings import drawings
from metabench.report.glossary_marks import explain_terms
from metabench.report.text_tables import Table, TextTable, cell, details, label, tables

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe


class PageSection(NamedTuple):
    """A finding as the page tells it."""

    finding: Finding
    where: str = ""  # the cell that speaks, where there are several
    often: str = ""  # in how many cells
    others: tuple[tuple[str, str], ...] = ()  # (cell, claim)
    left: int = 0  # others that aren't listed
    figure: FigureRef | None = None
    new: bool = False  # the figure is shown here; else it was shown above, or will be below
    by: str = ""  # the probe that found it, where there are several


class Content(NamedTuple):
    """Everything that the template lays out."""

    title: str
    question: str
    summary: str = ""
    notes: Sequence[str] = ()
    said: Sequence[PageSection] = ()
    changes: Sequence[Table] = ()
    comparisons: Sequence[Table] = ()
    figures: Sequence[FigureRef] = ()
    numbers: Sequence[Table] = ()
    failed: Table | None = None
    spec: Sequence[tuple[str, Any]] = ()
    provenance: Sequence[tuple[str, Any]] = ()
    intervals: Sequence[tuple[str, str]] = ()
    study: str = ""


def page(
    probe: Probe,
    table: pd.DataFrame,
    findings: Sequence[Finding],
    provenance: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
) -> str:
    """Give the page of one measured table, as HTML text.

    Args:
        probe: what measured it; it draws the figures.
        table: its tidy table.
        findings: what `probe.find(table)` said.
        provenance: how the table was made (command, versions, commit), shown at the end.
        spec: the settings it was made with, shown at the end.

    Returns:
        A complete document; it loads nothing, and all of it can be read without its script.
    """
    name = type(probe).__name__.lower()
    notes: list[str] = []
    gallery = Gallery(MOST, notes)
    drawn = hooks(0, drawings(probe, table, notes), table, "")
    said = [telling(gallery, finding, drawn) for finding in findings]
    texts = [*tables(table, probe), *details(table, probe)]
    content = Content(
        title=_title(name, spec or {}),
        question=probe.question,
        notes=notes,
        said=said,
        figures=gallery.rest(drawn),
        numbers=[numbered(name, i, text) for i, text in enumerate(texts, 1)],
        spec=list(flatten(spec or {})),
        provenance=list(flatten(provenance or {})),
        intervals=intervals([(name, probe)], seeds=False),
    )
    return rendered(content)


def numbered(name: str, i: int, text: TextTable) -> Table:
    """Make a table of the page of text, cut where it is very long."""
    count = len(text.lines)
    caption = f"The first {LINES} of {count:,} lines" if count > LINES else ""
    return Table(f"{name}-{i}", caption, text._replace(lines=text.lines[:LINES]))


def telling(
    gallery: Gallery, finding: Finding, own: Sequence[Hook], all_cells: Sequence[Hook] = ()
) -> PageSection:
    """Tell a finding with the figure that shows it, if one does."""
    hook = showing(own, all_cells, finding)
    if hook is None:
        return PageSection(finding)
    new = gallery.hang(hook)
    return PageSection(finding, figure=gallery.at(hook), new=new)


def intervals(probes: Iterable[tuple[str, Probe]], seeds: bool) -> list[tuple[str, str]]:
    """Say how the intervals are made, by each probe and between seeds."""
    lines = [(name, probe.intervals) for name, probe in probes if probe.intervals]
    return [*lines, *([("comparisons", HOW)] if seeds else [])]


def rendered(content: Content) -> str:
    """Fill the template; its policy names the one script by its hash, so that no other runs."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("metabench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["latex"] = _latex
    environment.filters["label"] = lambda row: label(row.quantity, row.of)
    environment.filters["evidence"] = lambda finding: [(r, cell(r)) for r in finding.evidence]
    style, script = (_text(name) for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("page.html")
    return explain_terms(template.render(page=content, policy=policy, style=style, script=script))


def _latex(table: Table) -> str:
    return downloads.link(downloads.latex(table.text, table.caption, table.best), "text/x-tex")


def _text(name: str) -> str:
    return resources.files("metabench.report").joinpath(name).read_text(encoding="utf-8")


def _title(name: str, spec: Mapping[str, Any]) -> str:
    """Name the page so that several are told apart by their tabs."""
    parts = [spec[part]["name"] for part in ("algo", "family") if part in spec]
    return f"metabench {name}" + (f": {' on '.join(parts)}" if parts else "")
