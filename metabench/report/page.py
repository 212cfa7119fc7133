"""Pages: one HTML file each, with findings, figures, tables and provenance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, flatten
from metabench.report import downloads
from metabench.report.comparison_tables import HOW, MOST_LINES
from metabench.report.figures import MOST_FIGURES, FigureRef, Gallery, Hook, hooks, showing
from metabench.report.findings import drawings
from metabench.report.glossary_marks import explain_terms
from metabench.report.quantity_names import axis_of, label
from metabench.report.settings_line import settings_line
from metabench.report.text_tables import Table, TextTable, cell, details, tables
from metabench.report.verdict import verdict
from metabench.settings.printed_names import printed_name

if TYPE_CHECKING:
    import pandas as pd

    from metabench.probes.base import Probe


class PageSection(NamedTuple):
    """A finding as shown on a page."""

    finding: Finding
    where: str = ""  # label of the cell, if there are several
    often: str = ""  # in how many cells
    others: tuple[tuple[str, str], ...] = ()  # (cell, claim)
    left: int = 0  # number of others that aren't listed
    figure: FigureRef | None = None
    new: bool = False  # the figure is shown here, else above or below
    by: str = ""  # the probe that found it, if there are several
    probe: Probe | None = None  # which says what `at` counts in the evidence

    @property
    def evidence(self) -> list[tuple[str, str]]:
        """The name and the text of each row that the finding rests on."""
        return [(self._name_of(row), cell(row)) for row in self.finding.evidence]

    def _name_of(self, row: Row) -> str:
        name = label(row.quantity, row.of)
        if row.at is None:
            return name
        axis = axis_of(self.probe, row.quantity, row.of) if self.probe else ""
        return f"{name} ({axis or 'at'} = {number(row.at)})"


class Content(NamedTuple):
    """Everything that the template of a page shows."""

    title: str
    question: str
    measured: str = ""  # the settings that matter
    verdict: str = ""
    summary: str = ""
    notes: Sequence[str] = ()
    findings: Sequence[PageSection] = ()
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
    summary: str = "",
) -> str:
    """Return the page of one measured table, as HTML text.

    Args:
        probe: the probe that measured the table; it draws the figures.
        table: the tidy table.
        findings: the result of `probe.find(table)`.
        provenance: how the table was made (command, versions, commit), shown at the end.
        spec: the settings of the measurement, shown at the end.
        summary: a sentence at the top, such as what adapts and what is learned.

    Returns:
        A complete document; it loads nothing and is readable without its script.

    >>> import metabench as mb
    >>> row = mb.Row("noise_scale", value=5.6, low=5.1, high=6.1)
    >>> text = mb.page(mb.Variance(), mb.to_table([row]), findings=[])
    >>> text.startswith("<!doctype html>"), "5.6 [5.1, 6.1]" in text
    (True, True)
    """
    name = type(probe).__name__.lower()
    notes: list[str] = []
    gallery = Gallery(MOST_FIGURES, notes)
    drawn = hooks(0, drawings(probe, table, notes), table, "")
    sections = [section_of(gallery, finding, probe, drawn) for finding in findings]
    texts = [*tables(table, probe), *details(table, probe)]
    content = Content(
        title=_title(name, spec or {}),
        question=probe.question,
        measured=f"{name} of {settings_line(spec)}" if spec else "",
        verdict=verdict(findings),
        summary=summary,
        notes=notes,
        findings=sections,
        figures=gallery.rest(drawn),
        numbers=[numbered(name, i, text) for i, text in enumerate(texts, 1)],
        spec=list(flatten(spec or {})),
        provenance=list(flatten(provenance or {})),
        intervals=intervals([(name, probe)], seeds=False),
    )
    return rendered(content)


def numbered(name: str, i: int, text: TextTable) -> Table:
    """Return a table of the page, cut after 100 lines.

    Args:
        name: of the probe.
        i: number of the table, for the name of its file.
        text: header and lines.
    """
    count = len(text.lines)
    caption = f"The first {MOST_LINES} of {count:,} lines" if count > MOST_LINES else ""
    return Table(f"{name}-{i}", caption, text._replace(lines=text.lines[:MOST_LINES]))


def section_of(
    gallery: Gallery,
    finding: Finding,
    probe: Probe | None,
    own: Sequence[Hook],
    all_cells: Sequence[Hook] = (),
) -> PageSection:
    """Return a finding with the figure that shows its evidence, if there is one.

    Args:
        gallery: draws the figure.
        finding: the finding.
        probe: that made it, if it is known.
        own: drawings of its cell.
        all_cells: drawings of all cells.
    """
    hook = showing(own, all_cells, finding)
    if hook is None:
        return PageSection(finding, probe=probe)
    new = gallery.hang(hook)
    return PageSection(finding, figure=gallery.at(hook), new=new, probe=probe)


def intervals(probes: Iterable[tuple[str, Probe]], seeds: bool) -> list[tuple[str, str]]:
    """List how each probe computes its intervals, and how seeds are combined if `seeds`."""
    lines = [(name, probe.intervals) for name, probe in probes if probe.intervals]
    return [*lines, *([("comparisons", HOW)] if seeds else [])]


def rendered(content: Content) -> str:
    """Return the HTML text of a page; its policy allows no script but the page's, by its hash."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("metabench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["latex"] = _latex
    environment.filters["markdown"] = _markdown
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


def _markdown(table: Table) -> str:
    return downloads.link(downloads.markdown(table.text, table.caption), "text/markdown")


def _text(name: str) -> str:
    return resources.files("metabench.report").joinpath(name).read_text(encoding="utf-8")


def _title(name: str, spec: Mapping[str, Any]) -> str:
    """Return the title of a page: probe, algorithm and family."""
    parts = [printed_name(spec[part]["name"]) for part in ("algo", "family") if part in spec]
    return f"metabench {name}" + (f": {' on '.join(parts)}" if parts else "")
