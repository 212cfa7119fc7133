"""Is the page of many cells whole, whatever the table holds, and made from tables alone?"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from pages import ABOUT, MARKUP, Page, diverged, evidence, grid, healthy, rows_of, scaled, settings

from metabench.cli.main import main
from metabench.probes.variance import Variance
from metabench.records.record import compose
from metabench.records.rows import Row, to_table
from metabench.records.store.environments import keep_environment
from metabench.records.store.store import Store
from metabench.report import stored_settings
from metabench.report.joined_evidence import joined
from metabench.report.labels import labels
from metabench.report.report import write_table
from metabench.report.study_page import study_page
from metabench.report.svg import render
from metabench.report.wide_table import split


def made(found, figures=1):
    """A page with few figures: most of its time goes into drawing."""
    return study_page(found, ABOUT, figures)


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


def test_findings_of_one_name_are_shown_once_and_counted():
    page = made(grid(seeds=2))

    assert page.count("info, undecided: slope unclear, in 8 of 8 cells") == 1
    assert "The same finding in 7 other cells" in page


def test_the_most_severe_finding_of_any_cell_comes_first():
    page = made(evidence((settings(), healthy()), (settings("fomaml"), diverged())))

    (first, *_) = re.findall(r"<h3>(.*?)</h3>", page)
    assert first == "critical, fault: diverged, in 1 of 2 cells"
    assert "Cell: fomaml on sinusoid." in words(page)


def test_best_is_marked_where_intervals_lie_apart_and_only_there():
    apart, close = (
        made(evidence((settings(), scaled(1.0)), (settings("fomaml"), scaled(by))))
        for by in (3.0, 1.1)
    )

    assert "4 [3, 5] (best)" in words(apart)
    assert "(best)" not in words(close)


def test_failed_cells_are_told_with_their_reasons():
    page = made(evidence((settings(), healthy()), (settings("imaml"), None)))

    assert "ValueError: no" in words(page)
    assert "metabench cell 000000000001" in words(page)
    assert "2 cells, variance, imaml and maml, sinusoid: 1 ok, 1 error." in words(page)


def test_a_study_that_only_failed_is_rendered():
    page = study_page(evidence((settings(), None), (settings("imaml"), None)), ABOUT)

    assert "<p>No findings.</p>" in page
    assert page.count(">ValueError: no<") == 2


def test_the_same_evidence_gives_the_same_bytes():
    assert study_page(grid(), ABOUT) == study_page(grid(), ABOUT)


def test_a_table_gives_the_page_of_its_store(tmp_path):
    found = grid(seeds=2)
    for name in ("t.csv", "t.parquet"):
        write_table(tmp_path / name, found)
    made = [str(tmp_path / name) for name in ("a.html", "b.html")]

    for name, page in zip(("t.csv", "t.parquet"), made, strict=True):
        words_ = ["report", str(tmp_path / name), "-o", page, "--export", str(tmp_path / "files")]
        result = CliRunner().invoke(main, words_)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "files" / "figure-1.svg").read_text(encoding="utf-8").endswith("</svg>")
    assert len(pd.read_csv(tmp_path / "files" / "figure-1.csv")) > 1
    assert "maml &" in (tmp_path / "files" / "variance-noise_scale.tex").read_text(encoding="utf-8")

    pages = [(tmp_path / name).read_text(encoding="utf-8") for name in ("a.html", "b.html")]
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

    page = study_page(found, ABOUT._replace(study=MARKUP if where == "study" else ""), 1)

    assert MARKUP not in page
    assert "<script>alert" not in page
    shown = shlex.quote(MARKUP) if where == "digest" else MARKUP  # a digest is part of a command
    assert shown in "".join(Page(page).words)


@pytest.mark.parametrize(
    ("thetas", "names"),
    [
        (("initial", "one.pt@0a", "two.pt@0b"), ("initial", "one.pt", "two.pt")),
        (("initial", "one.pt@0a", "one.pt@0b"), ("initial", "one.pt@0a", "one.pt@0b")),
    ],
)
def test_a_file_is_called_by_its_name_where_that_distinguishes_it(thetas, names):
    cells = pd.DataFrame({"probe": "variance", "theta": thetas})

    found = labels(cells, ["probe", "theta"])

    assert list(found["label"]) == [f"theta={name}" for name in names]


def test_what_isnt_finite_is_rendered():
    table = healthy()
    table.loc[table["quantity"] == "noise_scale", "value"] = np.inf
    table.loc[table["quantity"] == "variance", "high"] = np.inf
    table.loc[table["quantity"] == "slope", ["value", "low", "high"]] = np.nan
    table.loc[table["quantity"] == "snr", "value"] = -np.inf
    found = split(pd.concat([pd.DataFrame(settings(), index=table.index), table], axis=1), "t")

    page = made(joined([found]))

    assert "[7, unbounded]" in words(page)
    assert "missing" in words(page)


def test_a_table_without_a_probe_shows_its_numbers():
    page = study_page(joined([split(healthy(), "t.csv")]), ABOUT)

    assert "The table doesn't name its probe; only numbers are shown." in words(page)
    assert "4 [3, 5]" not in re.findall(r"<article", page)


def test_a_table_of_an_older_version_keeps_its_figures_and_says_so(monkeypatch):
    stored_settings._made.cache_clear()
    monkeypatch.setattr(Variance, "version", 7)

    page = made(evidence((settings(), healthy())))

    assert "Measured by version 1 of variance, read by version 7" in words(page)
    assert "<svg" in page


def test_a_probe_that_isnt_installed_and_another_version_show_their_numbers():
    strange, old = settings(), settings()
    strange["probe"], old["probe.version"] = "fortune", 99
    page = made(evidence((strange, healthy()), (old, healthy())))

    assert "There is no probe 'fortune'" in words(page)
    assert f"version 99 measured the table, but version {Variance.version} is installed" in words(
        page
    )
    assert page.count("</tr>") > 5


def test_one_row_is_rendered():
    table = to_table([Row("slope", value=-1.0, low=-1.1, high=-0.9)])
    found = split(pd.concat([pd.DataFrame(settings(), index=table.index), table], axis=1), "t")

    page = made(joined([found]))

    assert "The probe variance failed to diagnose a table" in words(page)
    assert "-1 [-1.1, -0.9]" in words(page)


@pytest.mark.parametrize("rows", [100_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_a_million_rows_are_one_small_page(rows):
    one = pd.concat([pd.DataFrame(settings(), index=healthy().index), healthy()], axis=1)
    count = rows // len(one)
    table = one.loc[np.tile(one.index, count)].reset_index(drop=True)
    table["algo.inner_optimizer.rate"] = np.repeat(np.arange(count), len(one)) / count
    assert len(table) == rows

    page = made(joined([split(table, "t")]))

    assert f"{count:,} cells, variance, maml, sinusoid: {count:,} ok." in words(page)
    assert f"Findings and figures are based on 400 of {count:,} cells, evenly chosen." in page
    assert len(page) < 1_000_000


def test_twelve_figures_take_less_than_a_megabyte():
    page = study_page(grid(seeds=2), ABOUT, 12)

    figures = page.count("<figure")
    assert figures >= 6
    assert len(page.encode()) / figures < 1_000_000 / 12


def test_dense_figures_become_pixels_and_keep_their_words():
    def draw(axes):
        axes.plot(np.sin(np.arange(100_000)))
        axes.scatter(np.arange(5_000), np.cos(np.arange(5_000)))
        axes.set_xlabel("steps")

    svg = render("dense", "t", "c", draw).svg

    assert "data:image/png;base64" in svg
    assert ">steps</text>" in svg
    assert len(svg) < 200_000


def test_a_figures_rounding_leaves_its_words_alone():
    svg = render("r", "t", "c", lambda axes: axes.set_xlabel("rate 0.000123456")).svg

    assert ">rate 0.000123456</text>" in svg


def test_a_strangers_probe_is_drawn_and_compared_without_touching_the_report(tmp_path):
    """Its `drawings` and `draw` appear, its findings too; the report does not know it."""
    (tmp_path / "fortune.py").write_text(FORTUNE, encoding="utf-8")
    given = settings()
    given = {key: v for key, v in given.items() if not key.startswith("probe")}
    given |= {"probe": f"{tmp_path}/fortune.py:Fortune", "probe.version": 1}
    rows = [Row("luck", at=float(k), value=k, low=k - 0.5, high=k + 0.5) for k in (1, 2, 3)]
    table = to_table([*rows, Row("charm", value=7.0, low=6.0, high=8.0)])
    other = table.assign(value=table["value"] * 9)

    both = evidence((given, table), (given | {"algo": "fomaml"}, other))
    page = study_page(both._replace(trusted=(given["probe"],)), ABOUT)

    seen = words(page)
    assert "Luck is 7." in seen
    assert {"LUCK LINE", "CHARM LINE", "luck axis"} <= {word.strip() for word in Page(page).words}
    assert "Which charm?" in seen
    assert "Luck against K on sinusoid." in seen
    assert "By counting." in seen


FORTUNE = '''
from dataclasses import dataclass
from metabench.probes.base import Drawing, Probe
from metabench.records.rows import Finding, from_table


@dataclass(frozen=True)
class Fortune(Probe):
    """Ask the stars (Nobody, 2020, https://example.org)."""

    axis = "K"
    question = "How lucky?"
    caption = "Up is good."
    x_axis_quantities = ("luck",)
    intervals = "By counting."

    def measure(self, subject, seed, progress=None):
        return []

    def find(self, table):
        (row,) = from_table(table, "charm")
        return [Finding("luck", "warning", "fault", f"Luck is {row.value:.0f}.", "Wait.", (row,))]

    def draw(self, table, axes):
        axes.plot([1, 2, 3], label="LUCK LINE")
        axes.set_ylabel("luck axis")
        axes.legend()

    def drawings(self, table):
        def charm(axes):
            axes.plot([3, 2, 1], label="CHARM LINE")
            axes.legend()

        return [*super().drawings(table), Drawing("Which charm?", "Down.", charm, ("charm",))]
'''


NO_TORCH = """
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NoTorch())
from metabench.cli.main import main
main(sys.argv[1:], standalone_mode=False)
"""


def test_a_report_is_made_where_there_is_no_torch(tmp_path):
    """Of a table, a run folder, and a study with its store."""
    found = grid()
    write_table(tmp_path / "t.csv", found)
    (tmp_path / "run").mkdir()
    rows = rows_of(healthy())
    spec = {"probe": {"name": "variance"}, "algo": {"name": "maml"}, "family": {"name": "own"}}
    record = compose(spec, rows, [], {"command": "metabench x", "torch": "2"})
    (tmp_path / "run" / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "s.toml").write_text("seed = 0\n", encoding="utf-8")
    store = Store(tmp_path / "metabench-runs" / "s").open()
    name = keep_environment(store, {"torch": "2.9", "device": "abacus"})
    made = {"environment": name}
    lost = {"seconds": 1.0, "outcome": "oom", "error": "too big"}
    store.save(compose({**spec, "seed": 1}, rows, None, made, {"seconds": 1.0}), failed=False)
    store.save(compose({**spec, "seed": 2}, [], None, made, lost), failed=True)

    command = [sys.executable, "-c", NO_TORCH, "report", "t.csv", "run", "s.toml", "--figures", "1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    seen = words((tmp_path / "page.html").read_text(encoding="utf-8"))
    for text in ("metabench x", "too big", "abacus", "metabench grid s.toml", "2.9"):
        assert text in seen


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.csv", "a,b\n1,2\n", "has no column 'quantity'"),
        ("x.csv", "quantity,value\nslope,steep\n", "Column 'value' of x.csv must contain numbers"),
        ("x.json", "[]", "is not a record"),
        ("x.txt", "", "is of an unknown format"),
        ("x.toml", "", "nothing is measured yet. Run metabench grid"),
        ("x.csv", "quantity,value\n", "has no cells yet"),
    ],
)
def test_an_invalid_source_is_refused_with_a_repair(name, text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")

    result = CliRunner().invoke(main, ["report", name])

    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "page.html").exists()
