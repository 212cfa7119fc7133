"""The page of many cells, from one or several studies and tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from metabench.probes.base import Probe
from metabench.records.rows import Finding
from metabench.report.cell_lists import failures, numbers_of
from metabench.report.comparison_tables import comparisons
from metabench.report.evidence import FINE, Evidence
from metabench.report.figures import MOST_FIGURES, Gallery, Hook, hooks
from metabench.report.findings import (
    MOST_CELLS_LISTED,
    Diagnosis,
    FindingGroup,
    drawings,
    findings_of_cells,
)
from metabench.report.labels import labels, setting_text
from metabench.report.overview_figures import overviews
from metabench.report.page import Content, PageSection, intervals, rendered, section_of
from metabench.report.study_provenance import StudyProvenance, common_settings, provenance_of

if TYPE_CHECKING:
    import pandas as pd

RARE = 100  # a finding in fewer than one cell of 100 may be due to chance


def study_page(
    evidence: Evidence,
    about: StudyProvenance,
    most: int = MOST_FIGURES,
    findings: list[Finding] | None = None,
) -> str:
    """Return the page of evidence, as HTML text.

    Args:
        evidence: cells and their numbers, including failed cells.
        about: title, sources and commands, shown at the end.
        most: largest number of figures; the page counts those left out.
        findings: receives one finding of each group that the page shows.

    Returns:
        A complete document; it loads nothing and is readable without its script.
    """
    evidence, words_of = _in_order(evidence)
    found = findings_of_cells(evidence)
    if findings is not None:
        findings += [group.finding for group in found.groups]
    probes = {words_of["probe"][cell]: probe for cell, probe in found.probes.items()}
    gallery = Gallery(most, found.notes)
    lone = len(evidence.cells) == 1
    compared = hooks(-1, overviews(evidence, words_of, probes), None, "")
    # reserve space for the comparisons
    gallery.most = most - min(len(compared), most // 2)
    named = words_of["label"] if not lone else words_of["label"].map(lambda _: "")
    own = {cell: _hooks(found, cell, named[cell]) for cell in _drawn(found)}
    sections = [_section(gallery, found, each, named, own, compared) for each in found.groups]
    gallery.most = most
    figures = gallery.rest(compared)
    if len(found.tables) <= 2:
        figures += [shown for cell in own for shown in gallery.rest(own[cell])]
    if gallery.left_out:
        found.notes.append(
            f"{gallery.left_out} more figures were left out; --figures "
            f"{most + gallery.left_out} shows all."
        )
    content = Content(
        title=f"metabench: {about.title}",
        question=_question(probes),
        summary=summary(evidence, words_of),
        notes=list(dict.fromkeys([*found.notes, *evidence.notes, *evidence.broken])),
        findings=sections,
        comparisons=comparisons(evidence, words_of, probes),
        figures=figures,
        failed=failures(evidence, words_of),
        numbers=numbers_of(evidence, words_of, found),
        spec=common_settings(evidence),
        provenance=provenance_of(evidence, about),
        intervals=intervals(probes.items(), seeds=not lone),
        study=about.study,
    )
    return rendered(content)


def _in_order(evidence: Evidence) -> tuple[Evidence, pd.DataFrame]:
    """Sort cells by their labels, numbers in numeric order, and return them with the labels."""
    found = labels(evidence.cells, evidence.settings)
    keys = [_natural(str(label)) for label in found["label"]]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    place = {old: new for new, old in enumerate(order)}
    cells, found = (table.take(order).reset_index(drop=True) for table in (evidence.cells, found))
    rows = evidence.rows.assign(cell=evidence.rows["cell"].map(place))
    rows = rows.sort_values("cell", kind="stable", ignore_index=True)
    return evidence._replace(cells=cells, rows=rows), found


def _natural(text: str) -> list[tuple[bool, float, str]]:
    """Return a sort key under which 5 comes before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", text)
    return [(i % 2 == 0, float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts)]


def summary(evidence: Evidence, words_of: pd.DataFrame) -> str:
    """Return a sentence with the number of cells, their members and their outcomes."""
    cells = evidence.cells
    parts = [f"{len(cells):,} cell{'s' if len(cells) != 1 else ''}"]
    for name, many in (("probe", "probes"), ("algo", "algorithms"), ("family", "families")):
        known = list(dict.fromkeys(setting_text(v) for v in cells[name])) if name in cells else []
        known = [text for text in known if text]
        if len(known) > 3:
            parts.append(f"{len(known)} {many}")
        elif known:
            parts.append(" and ".join(known))
    seeds = words_of["seed"].nunique()
    parts += [f"{seeds} seeds"] if seeds > 1 else []
    counts = cells["outcome"].value_counts(sort=False)
    order = [*FINE, *sorted(set(counts.index) - {*FINE})]
    states = [f"{counts[state]:,} {state}" for state in order if state in counts]
    return f"{', '.join(parts)}: {', '.join(states)}."


def _question(probes: Mapping[str, Probe]) -> str:
    questions = {probe.question for probe in probes.values()}
    if len(questions) == 1:
        return questions.pop()
    return "What is wrong with this meta-gradient, and what should be changed?"


def _drawn(found: Diagnosis) -> list[int]:
    """List the cells whose figures are shown: those with findings, or all of one or two."""
    if len(found.tables) <= 2:
        return list(found.tables)
    return list(dict.fromkeys(group.cell for group in found.groups))


def _hooks(found: Diagnosis, cell: int, of: str) -> list[Hook]:
    table = found.tables[cell]
    return hooks(cell, drawings(found.probes[cell], table, found.notes), table, of)


def _section(
    gallery: Gallery,
    found: Diagnosis,
    group: FindingGroup,
    label: pd.Series[str],
    own: Mapping[int, Sequence[Hook]],
    compared: Sequence[Hook],
) -> PageSection:
    where = str(label[group.cell])
    made = section_of(gallery, group.finding, found.probes[group.cell], own[group.cell], compared)
    others = tuple((str(label[cell]), claim) for cell, claim in group.others[:MOST_CELLS_LISTED])
    count = len(group.others) + 1
    often = f"in {count} of {group.of} cells" if where else ""
    if group.of >= RARE and count * RARE < group.of:
        often += " (may be due to chance)"
    left = len(group.others) - len(others)
    return made._replace(where=where, often=often, others=others, left=left)
