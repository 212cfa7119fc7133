"""What pages are tested on: tables of a cell and of studies, and what a browser would meet."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from metabench.records.rows import Row, flatten, to_table
from metabench.report.evidence import of_cells
from metabench.report.joined_evidence import joined
from metabench.report.study_provenance import StudyProvenance

MARKUP = "<script>alert('x')</script><b>&amp;"
VOID = {"meta", "br", "link", "img", "input", "hr"}


def without_hover(text: str) -> str:
    """The HTML text of a page without the explanations of its terms."""
    return re.sub(r"</?abbr[^>]*>", "", text)


class Page(HTMLParser):
    """What a browser would meet: tags with their attributes, ids, text, and the nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def attributes(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


def healthy(sizes=(1, 2, 4), at=float):
    """A table whose variance falls as 8 / B, with a signal of 2 and so a noise scale of 4."""
    rows = [Row("diverged", at=at(B), value=0.0, low=0.0, high=0.01) for B in sizes]
    rows += [Row("variance", at=at(B), value=8 / B, low=7 / B, high=9 / B) for B in sizes]
    rows += [Row("snr", at=at(B), value=B / 4, low=B / 5, high=B / 3) for B in sizes]
    rows += [Row("seconds", at=at(B), value=0.01 * B) for B in sizes]
    slope = Row("slope", value=-1.0, low=-1.1, high=-0.9)
    return to_table(
        [
            *rows,
            slope if len(sizes) > 1 else Row("slope", status="withheld"),
            Row("task_variance", value=8.0, low=7.0, high=9.0),
            Row("mean_norm_squared", value=2.0, low=1.8, high=2.2),
            Row("noise_scale", value=4.0, low=3.0, high=5.0),
        ]
    )


def diverged(sizes=(1, 2)):
    names = ("variance", "snr")
    at = [Row(name, at=float(B), status="diverged") for name in names for B in sizes]
    share = [
        Row("diverged", at=float(B), value=1.0, low=0.9, high=1.0, status="diverged") for B in sizes
    ]
    whole = ("slope", "task_variance", "mean_norm_squared", "noise_scale")
    return to_table([*share, *at, *(Row(name, status="diverged") for name in whole)])


ABOUT = StudyProvenance("study", ("study.toml",), ("metabench grid study.toml",), "seed = 0\n")


def settings(algo="maml", family="sinusoid", seed=0, **more):
    spec = {
        "probe": {"name": "variance", "version": 1, "tasks": 64, "sizes": [], "batch": 2},
        "algo": {"name": algo, "version": 1, "steps": more.pop("steps", 1)},
        "family": {"name": family, "version": 1},
        "seed": seed,
    }
    return dict(flatten({**spec, **more}))


def scaled(by):
    """The healthy table, its noise (and interval) times a number."""
    table = healthy()
    noisy = table["quantity"].isin(["noise_scale", "task_variance", "variance"])
    table.loc[noisy, ["value", "low", "high"]] *= by
    return table


def rows_of(table):
    lines = table[list(Row._fields)].astype(object).where(table[list(Row._fields)].notna(), None)
    return [Row(*line) for line in lines.itertuples(index=False)]


def evidence(*cells, **failed):
    """Cells of (settings, table or None for a failure)."""
    lines, rows = [], []
    for i, (given, table) in enumerate(cells):
        outcome = {"outcome": "ok", "error": "", "digest": f"{i:012x}"}
        if table is None:
            outcome |= {"outcome": "error", "error": "ValueError: no", **failed}
        lines.append({**outcome, **given})
        rows += [(i, row) for row in ([] if table is None else rows_of(table))]
    return joined([of_cells(lines, rows)])


def grid(seeds=1):
    return evidence(
        *(
            (settings(algo, family, seed), scaled(noise * (1 + 0.01 * seed)))
            for algo, noise in (("maml", 1.0), ("fomaml", 3.0))
            for family in ("sinusoid", "quadratic")
            for seed in range(seeds)
        )
    )
