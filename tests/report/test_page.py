"""Is the page one honest file: nothing loaded, nothing injected, the same every time?"""

from __future__ import annotations

import base64
import hashlib
import re

import pandas as pd
import pytest
from pages import MARKUP, Page, diverged, healthy, without_hover

from metabench.probes.variance import Variance
from metabench.records.rows import Finding, Row
from metabench.report.page import page
from metabench.report.svg import render


def unresolved():
    table = healthy()
    lines = table["quantity"]
    table.loc[lines == "mean_norm_squared", ["value", "low", "status"]] = [0.1, -0.3, "unresolved"]
    table.loc[lines == "noise_scale", ["high", "status"]] = [None, "unbounded"]
    table.loc[lines == "snr", ["low", "status"]] = [None, "unbounded"]
    return table


def made(table, **extra):
    probe = Variance()
    return page(probe, table, extra.pop("findings", probe.find(table)), **extra)


def test_the_page_loads_nothing():
    found = made(healthy(), spec={"algo": {"name": "maml"}}, provenance={"commit": "0f"})

    seen = Page(found)
    assert seen.attributes("src") == []
    loads = seen.attributes("href") + seen.attributes("xlink:href")
    assert all(target.startswith(("#", "data:")) for target in loads)
    shown = re.sub(r'"data:[^"]*"', "", found)  # what is saved is not what is shown
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", shown))
    assert {tag for tag, _ in seen.tags} & {"iframe", "img", "object", "embed", "form"} == set()
    assert "@import" not in found
    assert not any(name.startswith("on") for _, attrs in seen.tags for name in attrs)


def test_the_page_forbids_itself_to_load_anything():
    policies = [
        attrs["content"]
        for tag, attrs in Page(made(healthy())).tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]

    (policy,) = policies
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; ")
    assert "connect-src" not in policy
    assert "unsafe-eval" not in policy


def test_no_script_but_the_pages_own_may_run():
    found = made(healthy())

    (script,) = re.findall(r"<script>(.*?)</script>", found, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = Page(found).attributes("content")[1]
    assert f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in policy


def test_every_tag_is_closed_where_it_should_be():
    assert Page(made(healthy(), spec={"seed": 0})).open == []


@pytest.mark.parametrize("where", ["claim", "repair", "name"])
def test_markup_in_a_finding_is_text(where):
    words = {"name": "n", "claim": "c", "repair": "r", where: MARKUP}
    finding = Finding(level="warning", state="fault", evidence=(Row("slope", value=1.0),), **words)

    found = made(healthy(), findings=[finding])

    assert MARKUP not in found
    shown = "".join(Page(found).words).count(MARKUP)
    assert shown == (2 if where == "name" else 1)  # the verdict has the name, too


@pytest.mark.parametrize("where", ["spec", "provenance"])
def test_markup_in_a_setting_is_text(where):
    found = made(healthy(), **{where: {MARKUP: MARKUP}})

    assert MARKUP not in found
    assert "".join(Page(found).words).count(MARKUP) == 2


def test_markup_in_a_caption_is_text():
    figure = render("one", MARKUP, MARKUP, lambda axes: None)

    assert MARKUP not in figure.svg
    assert "".join(Page(figure.svg).words).count(MARKUP) == 2


def test_two_figures_share_no_id_and_refer_to_their_own():
    draw = Variance().draw
    first, second = (
        render(name, "t", "c", lambda axes: draw(healthy(), axes)).svg for name in ("one", "two")
    )

    ids = Page(first).attributes("id"), Page(second).attributes("id")
    assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1]) > 10
    for svg, own in zip((first, second), ids, strict=True):
        seen = Page(svg)
        targets = [target[1:] for target in seen.attributes("xlink:href")]
        targets += re.findall(r"url\(#([^)]*)\)", svg)
        targets += " ".join(seen.attributes("aria-labelledby")).split()
        assert targets
        assert set(targets) <= set(own)


def test_the_ids_of_a_whole_page_are_unique():
    ids = Page(made(healthy())).attributes("id")

    assert len(set(ids)) == len(ids)


def test_the_same_table_gives_the_same_bytes():
    assert made(healthy()) == made(healthy())
    assert made(healthy()) != made(healthy(sizes=(1, 2)))


def test_findings_come_before_figures_before_numbers_before_settings():
    found = made(healthy(), spec={"seed": 0}, provenance={"commit": "0f"})

    order = [
        found.index(text)
        for text in ("Noise equals signal", "<svg", "<table", ">Settings<", ">Provenance<")
    ]
    assert order == sorted(order)


def test_the_weightiest_finding_comes_first():
    table = pd.concat([healthy(), diverged()[lambda t: t["quantity"] == "diverged"]])

    found = made(table)

    assert found.index("critical, fault: diverged") < found.index("info, fine: noise scale")


def test_the_figure_is_readable_by_ear_and_in_any_color():
    svg = render("one", "A question?", "How to read it.", lambda axes: axes.plot([1, 2])).svg

    assert '<title id="one-title">A question?</title>' in svg
    assert '<desc id="one-desc">How to read it.</desc>' in svg
    assert 'fill="currentColor" role="img" aria-labelledby="one-title one-desc"' in svg
    assert "#000000" not in svg


def test_the_axis_is_written_in_plain_numbers():
    svg = render("one", "t", "c", lambda axes: Variance().draw(healthy(), axes)).svg

    words = {word.strip() for word in Page(svg).words}
    assert {"1", "2", "4", "5"} <= words
    assert {"measured", "1/B from B = 1", "signal |E g|²"} <= words


def test_the_page_is_named_after_what_was_measured():
    spec = {"algo": {"name": "maml"}, "family": {"name": "digits"}}

    assert "<title>metabench variance: maml on digits</title>" in made(healthy(), spec=spec)
    assert "<title>metabench variance</title>" in made(healthy())


def test_a_table_that_only_diverged_is_rendered():
    found = made(diverged())

    assert "100 % of tasks give a non-finite meta-gradient" in found
    assert "no finite variance to draw" in found
    assert found.count('<td class="number">diverged</td>') == 8


def test_a_table_of_one_batch_size_is_rendered():
    found = made(healthy(sizes=(1,)))

    assert "Noise equals signal at 4 tasks [3, 5]" in found
    line = '<th scope="row">slope</th><td class="number">withheld</td>'
    assert line in without_hover(found)


def test_a_table_with_open_intervals_is_rendered():
    found = made(unresolved())

    assert "The mean meta-gradient is not distinguishable from zero" in found
    assert "4 [3, unbounded]" in found
    assert "signal |E g|²</text>" not in found


def test_a_page_without_findings_says_so():
    found = made(healthy(), findings=[])

    assert "<p>No findings.</p>" in found


def test_rendering_leaves_nothing_global_behind():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    made(healthy())

    assert dict(mpl.rcParams) == before
