"""Does a real browser show the page: no error, no request, findings first, all of it in print?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ABOUT, evidence, grid, healthy, settings

from metabench.report.study_page import study_page

WIDTHS = (1280, 768, 360)  # pixels


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page with findings, comparisons, a failed cell and enough cells to filter."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    found = grid(seeds=2)
    failed = evidence((settings("imaml"), None), (settings("maml", steps=5), healthy()))
    from metabench.report.joined_evidence import joined

    failed.cells["digest"] = ["f" * 12, "e" * 12]
    path.write_text(study_page(joined([found, failed]), ABOUT), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file, request):
    """The page, with everything it logged and asked for."""
    given = getattr(request, "param", {})
    page = browser.new_page(**given)
    page.set_default_timeout(20_000)
    page.logged, page.asked = [], []
    page.on("console", lambda message: page.logged.append(message.text))
    page.on("pageerror", lambda error: page.logged.append(str(error)))
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.goto(file.as_uri())
    yield page
    page.close()


def test_it_opens_without_an_error_or_a_request(opened, file):
    assert opened.logged == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]


def test_findings_come_first_to_a_screen_reader(opened):
    tree = opened.locator("body").aria_snapshot()

    headings = re.findall(r'heading "([^"]*)" \[level=2\]', tree)
    assert headings[:2] == ["Findings", "Comparisons"]
    assert tree.index('heading "Findings"') < tree.index("article") < tree.index("img")
    assert 'heading "info, undecided: slope unclear, in 9 of 9 cells" [level=3]' in tree


def test_every_figure_is_visible_and_has_a_name(opened):
    figures = opened.get_by_role("img").all()

    assert len(figures) == opened.locator("figure").count() > 3
    for figure in figures:
        box = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 150
        assert figure.get_attribute("aria-labelledby")
        assert figure.locator("path").count() > 5


@pytest.mark.parametrize(
    "opened",
    [{"viewport": {"width": width, "height": 900}, "color_scheme": "dark"} for width in WIDTHS],
    indirect=True,
    ids=map(str, WIDTHS),
)
def test_nothing_is_cut_off_or_overlaps(opened):
    """Nothing sticks out of the window but tables, which scroll; a figure holds its words."""
    opened.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    sticking = opened.evaluate("""() => {
      const wide = document.documentElement.clientWidth;
      const seen = [...document.querySelectorAll("main *")].filter(e =>
        !e.parentElement.closest("svg") && !e.parentElement.closest(".wide"));
      return seen.filter(e => e.getBoundingClientRect().right > wide + 1).map(e => e.outerHTML);
    }""")
    outside = opened.evaluate("""() => [...document.querySelectorAll("svg")].flatMap(svg => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter(text => {
        const own = text.getBoundingClientRect();
        return own.left < box.left - 2 || own.right > box.right + 2 || own.top < box.top - 2
          || own.bottom > box.bottom + 2;
      }).map(text => svg.id + text.textContent);
    })""")
    stacked = opened.evaluate("""() => {
      const parts = [...document.querySelectorAll("figure, .finding > div, .block, h2")];
      const boxes = parts.map(e => [e, e.getBoundingClientRect()]).filter(([, b]) => b.height);
      return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([other, b]) =>
        !one.contains(other) && a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 1 && b.top < a.bottom - 1).map(() => one.outerHTML.slice(0, 80)));
    }""")
    assert sticking == []
    assert outside == []
    assert stacked == []


def test_sorting_by_keyboard_orders_numbers_as_numbers(opened):
    table = opened.get_by_role("table", name="noise scale (low is better)")
    button = table.get_by_role("button", name="sinusoid")

    button.focus()
    opened.keyboard.press("Enter")
    first = table.locator("tbody tr").first.inner_text()
    opened.keyboard.press("Enter")
    last = table.locator("tbody tr").first.inner_text()

    assert first.startswith("maml")
    assert last.startswith("fomaml")
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_filtering_leaves_the_rows_that_hold_every_word(opened):
    block = opened.locator(".block", has=opened.get_by_role("table", name="Cells of variance"))
    total = block.locator("tbody tr").count()

    block.get_by_role("searchbox").fill("fomaml quadratic")

    assert total == 10
    assert block.locator("tbody tr:visible").count() == 2
    assert block.get_by_role("status").inner_text() == "2 of 10 rows"


@pytest.mark.parametrize("opened", [{"java_script_enabled": False}], indirect=True)
def test_without_script_everything_is_there(opened):
    assert opened.locator("tbody tr").count() > 10
    assert opened.locator("figure svg").count() > 3
    assert opened.get_by_role("searchbox").count() == 0


def test_figures_and_tables_are_saved(opened, tmp_path):
    kept = {}
    for name in ("SVG", "CSV", "LaTeX", "Markdown"):
        with opened.expect_download() as waiting:
            opened.get_by_role("link", name=name).first.click()
        place = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(place)
        kept[place.suffix] = place.read_text(encoding="utf-8")

    assert kept[".svg"].startswith('<svg style="color:#000;background:#fff"')
    assert "</svg>" in kept[".svg"]
    assert "quantity,at," in kept[".csv"] or "value,low,high" in kept[".csv"]
    assert kept[".tex"].splitlines()[1].startswith(r"\begin{tabular}{l")
    assert opened.logged == []


def test_it_prints_whole(browser, file):
    page = browser.new_page(color_scheme="dark")
    page.goto(file.as_uri())
    page.emulate_media(media="print")

    printed = page.pdf(format="A4")

    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 3
    hidden = page.evaluate("""() => [...document.querySelectorAll("details > *:not(summary)")]
      .filter(e => !e.checkVisibility({contentVisibilityAuto: true})).length""")
    assert hidden == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.close()


def test_a_saved_figure_stands_alone(browser, file, tmp_path):
    (tmp_path / "figure.svg").write_text(_first_svg(file), encoding="utf-8")
    page = browser.new_page()
    logged = []
    page.on("console", lambda message: logged.append(message.text))
    page.goto((tmp_path / "figure.svg").as_uri())

    assert logged == []
    assert page.locator("text").count() > 5
    page.close()


def _first_svg(file: Path) -> str:
    from urllib.parse import unquote

    (found, *_) = re.findall(r'href="data:image/svg\+xml;charset=utf-8,([^"]*)"', file.read_text())
    return unquote(found)
