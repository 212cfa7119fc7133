"""Is the page of many cells whole, whatever the table holds, and made from tables alone?"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from metabench.cli import main
from metabench.reading import write_table
from metabench.report.evidence import joined, of_cells, split
from metabench.report.study import About, study_page
from metabench.rows import Row, flatten, to_table
from tests.test_report import MARKUP, Page, diverged, healthy

ABOUT = About("study", ("study.toml",), ("metabench grid study.toml",), "seed = 0\n")


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


def words(page):
    return " ".join("".join(Page(page).words).split())


def test_findings_come_first_then_comparisons_figures_numbers_provenance():
    page = study_page(grid(), ABOUT)

    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert titles == [
        *("Findings", "Comparisons", "More figures", "Numbers"),
        *("How intervals are made", "Settings", "Provenance"),
    ]
    assert Page(page).open == []


def test_alike_findings_are_told_once_and_counted():
    page = study_page(grid(seeds=2), ABOUT)

    assert page.count("info: independent tasks, in 8 of 8 cells") == 1
    assert "The same of 7 other cells" in page


def test_the_weightiest_finding_of_any_cell_comes_first():
    page = study_page(evidence((settings(), healthy()), (settings("fomaml"), diverged())), ABOUT)

    (first, *_) = re.findall(r"<h3>(.*?)</h3>", page)
    assert first == "critical: diverged, in 1 of 2 cells"
    assert "Said of fomaml on sinusoid." in words(page)


def test_best_is_marked_where_intervals_lie_apart_and_only_there():
    apart, close = (
        study_page(evidence((settings(), scaled(1.0)), (settings("fomaml"), scaled(by))), ABOUT)
        for by in (3.0, 1.1)
    )

    assert "4 [3, 5] (best)" in words(apart)
    assert "(best)" not in words(close)


def test_failed_cells_are_told_with_their_reasons():
    page = study_page(evidence((settings(), healthy()), (settings("imaml"), None)), ABOUT)

    assert "ValueError: no" in words(page)
    assert "metabench cell 000000000001" in words(page)
    assert "2 cells, variance, maml and imaml, sinusoid: 1 ok, 1 error." in words(page)


def test_a_study_that_only_failed_is_rendered():
    page = study_page(evidence((settings(), None), (settings("imaml"), None)), ABOUT)

    assert "Nothing that the intervals support." in page
    assert page.count(">ValueError: no<") == 2


def test_the_same_evidence_gives_the_same_bytes():
    assert study_page(grid(), ABOUT) == study_page(grid(), ABOUT)


def test_a_table_gives_the_page_of_its_store(tmp_path):
    found = grid(seeds=2)
    for name in ("t.csv", "t.parquet"):
        write_table(tmp_path / name, found)
    made = [str(tmp_path / name) for name in ("a.html", "b.html")]

    for name, page in zip(("t.csv", "t.parquet"), made, strict=True):
        result = CliRunner().invoke(main, ["report", str(tmp_path / name), "-o", page])
        assert result.exit_code == 0, result.output

    pages = [(tmp_path / name).read_text() for name in ("a.html", "b.html")]
    assert pages[0].replace("t.csv", "") == pages[1].replace("t.parquet", "")
    (claims,) = {tuple(re.findall(r'class="claim">(.*?)<', p)) for p in pages}
    assert claims == tuple(re.findall(r'class="claim">(.*?)<', study_page(found, ABOUT)))


@pytest.mark.parametrize(
    "where", ["algo", "family", "error", "digest", "claim", "study", "environment.commit"]
)
def test_markup_from_users_is_text(where):
    cells = [(settings(), healthy()), (settings("fomaml"), None)]
    if where in ("algo", "family"):
        cells[0][0][where] = MARKUP
        cells[1][0][where] = MARKUP
    found = evidence(*cells)
    if where in ("error", "digest", "environment.commit"):
        found.cells[where] = MARKUP
    if where == "claim":
        found.rows.loc[:, "quantity"] = MARKUP

    page = study_page(found, ABOUT._replace(study=MARKUP if where == "study" else ""))

    assert MARKUP not in page
    assert "<script>alert" not in page
    assert MARKUP in "".join(Page(page).words)


def test_what_isnt_finite_is_rendered():
    table = healthy()
    table.loc[table["quantity"] == "noise_scale", "value"] = np.inf
    table.loc[table["quantity"] == "variance", "high"] = np.inf
    table.loc[table["quantity"] == "slope", ["value", "low", "high"]] = np.nan
    table.loc[table["quantity"] == "snr", "value"] = -np.inf
    found = split(pd.concat([pd.DataFrame(settings(), index=table.index), table], axis=1), "t")

    page = study_page(joined([found]), ABOUT)

    assert "[7, unbounded]" in words(page)
    assert "missing" in words(page)


def test_a_table_without_a_probe_shows_its_numbers():
    page = study_page(joined([split(healthy(), "t.csv")]), ABOUT)

    assert "The table doesn't say which probe made it: numbers only." in words(page)
    assert "4 [3, 5]" not in re.findall(r"<article", page)


def test_a_probe_that_isnt_installed_and_another_version_show_their_numbers():
    strange, old = settings(), settings()
    strange["probe"], old["probe.version"] = "fortune", 99
    page = study_page(evidence((strange, healthy()), (old, healthy())), ABOUT)

    assert "There is no probe 'fortune'" in words(page)
    assert "variance is at version 1; these settings are of 99" in words(page)
    assert page.count("</tr>") > 5


def test_one_row_is_rendered():
    table = to_table([Row("slope", value=-1.0, low=-1.1, high=-0.9)])
    found = split(pd.concat([pd.DataFrame(settings(), index=table.index), table], axis=1), "t")

    page = study_page(joined([found]), ABOUT)

    assert "variance could not diagnose a table" in words(page)
    assert "-1 [-1.1, -0.9]" in words(page)
