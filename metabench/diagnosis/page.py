"""The page of a checkup: faults, trials, remarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.diagnosis.causes import ConfirmedFinding
from metabench.diagnosis.checkup import TRIAL, Checkup
from metabench.diagnosis.checkup_verdict import checkup_verdict
from metabench.diagnosis.parts import Part
from metabench.diagnosis.save import trials
from metabench.probes.base import Probe
from metabench.records.rows import flatten, to_table
from metabench.report.figures import MOST_FIGURES, Gallery, Hook, hooks
from metabench.report.findings import drawings
from metabench.report.page import Content, PageSection, intervals, numbered, rendered, section_of
from metabench.report.settings_line import settings_line
from metabench.report.text_tables import Table, details, tables

QUESTION = "What is wrong with this meta-gradient, and what should be changed?"


def page(
    found: Checkup, settings: Mapping[str, Any], made: Mapping[str, Any], about: str = ""
) -> str:
    """Return the page as HTML: faults, trials, remarks.

    Args:
        found: the checkup.
        settings: its settings, as plain JSON values.
        made: provenance of the run.
        about: what adapts and what is learned, a sentence.
    """
    notes = list(found.notes)
    gallery = Gallery(MOST_FIGURES, notes)
    parts = [part for part in found.everything if part.rows]
    hooked = {part.name: _hooks_of(i, part, notes) for i, part in enumerate(parts)}
    probes = {part.name: part.measurement.probe for part in parts}
    said = [
        _confirmed_section(each, gallery, probes.get(each.probe), hooked)
        for each in found.ordered_findings
    ]
    tried = trials(found)
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    seconds = sum(part.seconds for part in parts)
    return rendered(
        Content(
            title=f"metabench diagnose: {names}",
            question=QUESTION,
            measured=f"diagnose of {settings_line(settings)}",
            verdict=checkup_verdict(found),
            summary=f"Measuring took {seconds:.0f} s. {about}".rstrip(),
            notes=notes,
            findings=said,
            changes=[Table("changes", "", tried)] if tried else [],
            figures=[shown for drawn in hooked.values() for shown in gallery.rest(drawn)],
            numbers=[numbers for part in parts for numbers in _tables_of(part)],
            spec=list(flatten(settings)),
            provenance=list(flatten(made)),
            intervals=intervals(
                [(part.name, part.measurement.probe) for part in parts], seeds=False
            ),
        )
    )


def _hooks_of(number: int, part: Part, notes: list[str]) -> list[Hook]:
    """Return a part's figures, to be placed beside the findings that they show."""
    table = to_table(part.rows)
    return hooks(number, drawings(part.measurement.probe, table, notes), table, "")


def _confirmed_section(
    confirmed: ConfirmedFinding,
    gallery: Gallery,
    probe: Probe | None,
    hooked: Mapping[str, list[Hook]],
) -> PageSection:
    """Return a finding's section: its figure, its probe, whether it was confirmed.

    Args:
        confirmed: the finding.
        gallery: draws the figure.
        probe: that made the finding, if it has numbers.
        hooked: figures of each probe.
    """
    often = "confirmed on fresh tasks" if confirmed.confirmed else ""
    section = section_of(gallery, confirmed.finding, probe, hooked.get(confirmed.probe, ()))
    return section._replace(by=confirmed.probe, often=often)


def _tables_of(part: Part) -> list[Table]:
    """Return a probe's tables; those of the trials are above."""
    if part.name == TRIAL:
        return []
    table, probe = to_table(part.rows), part.measurement.probe
    texts = [*tables(table, probe), *details(table, probe)]
    return [numbered(part.name, i, text) for i, text in enumerate(texts, 1)]
