"""The page of many cells: a study, a table, or several of either."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import metabench
from metabench.probes.base import Probe
from metabench.records.rows import Row, rows_of
from metabench.report.comparison_tables import Table, comparisons, failures
from metabench.report.evidence import FINE, Evidence, missing
from metabench.report.figures import MOST, Gallery, Hook, hooks
from metabench.report.findings import TOLD, Diagnosis, Told, diagnose, drawings
from metabench.report.labels import labels, said
from metabench.report.overview_figures import overviews
from metabench.report.page import Content, Said, intervals, numbered, rendered, telling
from metabench.report.text_tables import TextTable, cell, details, tables, words

if TYPE_CHECKING:
    import pandas as pd

RARE = 100  # a finding in fewer than one cell of so many may be chance: many were asked
LISTED = 150  # cells listed one by one
COMMANDS = 20  # of cells that were measured by hand, most that are listed


class About(NamedTuple):
    """Where the evidence comes from."""

    title: str
    sources: tuple[str, ...] = ()  # as they were given
    commands: tuple[str, ...] = ()
    study: str = ""  # the study file's text


def study_page(evidence: Evidence, about: About, most: int = MOST) -> str:
    """Give the page of evidence, as HTML text.

    Args:
        evidence: cells and their numbers; failed cells are among them.
        about: title, sources and commands, shown at the end.
        most: figures that are drawn at most; the page counts those left out.

    Returns:
        A complete document; it loads nothing, and all of it can be read without its script.
    """
    evidence, words_of = _in_order(evidence)
    found = diagnose(evidence)
    probes = {words_of["probe"][cell]: probe for cell, probe in found.probes.items()}
    gallery = Gallery(most, found.notes)
    lone = len(evidence.cells) == 1
    compared = hooks(-1, overviews(evidence, words_of, probes), None, "")
    # the room that comparisons take is kept for them
    gallery.most = most - min(len(compared), most // 2)
    named = words_of["label"] if not lone else words_of["label"].map(lambda _: "")
    own = {cell: _hooks(found, cell, named[cell]) for cell in _drawn(found)}
    told = [_told(gallery, found, each, named, own, compared) for each in found.told]
    gallery.most = most
    figures = gallery.rest(compared)
    if len(found.tables) <= 2:
        figures += [shown for cell in own for shown in gallery.rest(own[cell])]
    if gallery.left_out:
        found.notes.append(
            f"{gallery.left_out} more figures were left out; --figures "
            f"{most + gallery.left_out} draws them all."
        )
    content = Content(
        title=f"metabench: {about.title}",
        question=_question(probes),
        summary=summary(evidence, words_of),
        notes=list(dict.fromkeys([*found.notes, *evidence.notes])),
        said=told,
        comparisons=comparisons(evidence, words_of, probes),
        figures=figures,
        failed=failures(evidence, words_of),
        numbers=_numbers(evidence, words_of, found),
        spec=_common(evidence),
        provenance=_provenance(evidence, about),
        intervals=intervals(probes.items(), seeds=not lone),
        study=about.study,
    )
    return rendered(content)


def _in_order(evidence: Evidence) -> tuple[Evidence, pd.DataFrame]:
    """Put cells in the order of their labels, numbers as numbers; a store knows only digests."""
    found = labels(evidence.cells, evidence.settings)
    keys = [_natural(str(label)) for label in found["label"]]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    place = {old: new for new, old in enumerate(order)}
    cells, found = (table.take(order).reset_index(drop=True) for table in (evidence.cells, found))
    rows = evidence.rows.assign(cell=evidence.rows["cell"].map(place))
    rows = rows.sort_values("cell", kind="stable", ignore_index=True)
    return evidence._replace(cells=cells, rows=rows), found


def _natural(text: str) -> list[tuple[bool, float, str]]:
    """Split text so that 5 comes before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", text)
    return [(i % 2 == 0, float(part) if i % 2 else 0.0, part) for i, part in enumerate(parts)]


def summary(evidence: Evidence, words_of: pd.DataFrame) -> str:
    """Say in a sentence what there is: cells, what they are of, and what became of them."""
    cells = evidence.cells
    parts = [f"{len(cells):,} cell{'s' if len(cells) != 1 else ''}"]
    for name, many in (("probe", "probes"), ("algo", "algorithms"), ("family", "families")):
        known = list(dict.fromkeys(said(v) for v in cells[name])) if name in cells else []
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
    """List the cells with figures of their own: those that speak, or the few that there are."""
    if len(found.tables) <= 2:
        return list(found.tables)
    return list(dict.fromkeys(told.cell for told in found.told))


def _hooks(found: Diagnosis, cell: int, of: str) -> list[Hook]:
    table = found.tables[cell]
    return hooks(cell, drawings(found.probes[cell], table, found.notes), table, of)


def _told(
    gallery: Gallery,
    found: Diagnosis,
    told: Told,
    label: pd.Series[str],
    own: Mapping[int, Sequence[Hook]],
    compared: Sequence[Hook],
) -> Said:
    where = str(label[told.cell])
    made = telling(gallery, told.finding, own[told.cell], compared)
    others = tuple((str(label[cell]), claim) for cell, claim in told.others[:TOLD])
    count = len(told.others) + 1
    often = f"in {count} of {told.of} cells" if where else ""
    if told.of >= RARE and count * RARE < told.of:
        often += " (so few may be chance)"
    left = len(told.others) - len(others)
    return made._replace(where=where, often=often, others=others, left=left)


def _numbers(evidence: Evidence, words_of: pd.DataFrame, found: Diagnosis) -> list[Table]:
    """Lay out a lone cell in full, as its own page does; of many, what stands for the whole."""
    if len(found.tables) == 1 == len(evidence.cells):
        ((number, table),) = found.tables.items()
        probe = found.probes[number]
        texts = [*tables(table, probe), *details(table, probe)]
        return [numbered("numbers", i, text) for i, text in enumerate(texts, 1)]
    made = []
    for probe in dict.fromkeys(words_of["probe"]):
        cells = words_of.index[words_of["probe"] == probe]
        text = _cells(evidence, words_of, cells)
        left = len(cells) - LISTED
        more = f", the first {LISTED} of {len(cells):,}" if left > 0 else ""
        made.append(Table(f"cells-{probe or 'all'}", f"Cells of {probe or 'all'}{more}", text))
    return made


def _cells(evidence: Evidence, words_of: pd.DataFrame, cells: pd.Index[int]) -> TextTable:
    chosen = cells[:LISTED]
    rows = evidence.rows
    rows = rows[rows["at"].isna() & (rows["of"] == "") & (rows["layer"] == "")]
    rows = rows[rows["cell"].isin(chosen) & rows["value"].notna()]
    names = list(dict.fromkeys(rows["quantity"]))[:10]
    rows = rows[rows["quantity"].isin(names)]
    lines = rows_of(rows[list(Row._fields)].itertuples(index=False))
    there = {
        (number, row.quantity): cell(row) for number, row in zip(rows["cell"], lines, strict=True)
    }
    outcome = evidence.cells["outcome"]
    body = tuple(
        (
            str(words_of["label"][i]),
            str(outcome[i]),
            *(there.get((i, name), "") for name in names),
        )
        for i in chosen
    )
    return TextTable(("cell", "outcome", *map(words, names)), body)


def _common(evidence: Evidence) -> list[tuple[str, Any]]:
    """List the settings that all cells share, and the values of those that they don't."""
    lines = []
    for name in evidence.settings:
        values = list(dict.fromkeys(said(v) for v in evidence.cells[name]))
        known = [value for value in values if value]
        if not known:
            continue
        shown = ", ".join(known[:12]) + (f", .. ({len(known)} values)" if len(known) > 12 else "")
        lines.append((name, shown))
    return lines


def _provenance(evidence: Evidence, about: About) -> list[tuple[str, Any]]:
    """List where the numbers come from; what isn't known has no line."""
    cells = evidence.cells
    own = list(dict.fromkeys(_there(cells["command"])))
    commands = dict.fromkeys([*own[:COMMANDS], *about.commands])
    seconds = sum(map(float, _there(cells["seconds"])))
    lines = [
        ("sources", ", ".join(about.sources)),
        ("study digest", _digest(about.study)),
        ("cells digest", _digest(" ".join(sorted(_there(cells["digest"]))))),
        *(("commands", command) for command in commands),
        *((name.removeprefix("environment."), _values(cells[name]))
          for name in map(str, cells) if name.startswith("environment.")),
        ("seconds in all", f"{seconds:.0f}" if seconds else ""),
        ("page made by", f"metabench {metabench.__version__}"),
    ]  # fmt: skip
    return [(name, text) for name, text in lines if text]


def _there(column: pd.Series[Any]) -> list[str]:
    """List the values that are there, as text."""
    return [str(value) for value in column if not missing(value) and value != ""]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


def _values(column: pd.Series[Any]) -> str:
    """List the values of a column, with how many cells have each where they differ."""
    counts = column.map(said).value_counts(sort=False)
    counts = counts[[value != "" for value in counts.index]]
    if len(counts) == 1:
        return str(counts.index[0])
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.items())
