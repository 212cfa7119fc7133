"""The page of a checkup: faults first, then what was tried, then the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.diagnosis.causes import ConfirmedFinding
from metabench.diagnosis.checkup import TRIAL, Checkup
from metabench.diagnosis.parts import Part
from metabench.diagnosis.save import trials
from metabench.records.rows import flatten, to_table
from metabench.report.figures import MOST_FIGURES, Gallery, Hook, hooks
from metabench.report.findings import drawings
from metabench.report.page import Content, PageSection, intervals, numbered, rendered, section_of
from metabench.report.text_tables import Table, details, tables

QUESTION = "What is wrong with this meta-gradient, and what should be changed?"


def page(found: Checkup, settings: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Give the page, as HTML text: faults first, then what was tried, then the rest."""
    notes = list(found.notes)
    gallery = Gallery(MOST_FIGURES, notes)
    parts = [part for part in found.everything if part.rows]
    hung = {part.name: _hung(i, part, notes) for i, part in enumerate(parts)}
    said = [_said(each, gallery, hung) for each in found.ordered_findings]
    tried = trials(found)
    names = f"{settings['algo']['name']} on {settings['family']['name']}"
    seconds = sum(part.seconds for part in parts)
    return rendered(
        Content(
            title=f"metabench diagnose: {names}",
            question=QUESTION,
            summary=f"{len(parts)} parts measured in {seconds:.0f} s.",
            notes=notes,
            findings=said,
            changes=[Table("changes", "", tried)] if tried else [],
            figures=[shown for drawn in hung.values() for shown in gallery.rest(drawn)],
            numbers=[numbers for part in parts for numbers in _numbers(part)],
            spec=list(flatten(settings)),
            provenance=list(flatten(made)),
            intervals=intervals(
                [(part.name, part.measurement.probe) for part in parts], seeds=False
            ),
        )
    )


def _hung(number: int, part: Part, notes: list[str]) -> list[Hook]:
    """Make a part's figures ready for the findings that they show."""
    table = to_table(part.rows)
    return hooks(number, drawings(part.measurement.probe, table, notes), table, "")


def _said(heard: ConfirmedFinding, gallery: Gallery, hung: Mapping[str, list[Hook]]) -> PageSection:
    """Tell a finding beside its figure, with who found it and how often."""
    often = "confirmed on fresh tasks" if heard.confirmed else ""
    said = section_of(gallery, heard.finding, hung.get(heard.probe, ()))
    return said._replace(by=heard.probe, often=often)


def _numbers(part: Part) -> list[Table]:
    """Give a probe's tables; the trials have theirs above."""
    if part.name == TRIAL:
        return []
    table, probe = to_table(part.rows), part.measurement.probe
    texts = [*tables(table, probe), *details(table, probe)]
    return [numbered(part.name, i, text) for i, text in enumerate(texts, 1)]
