"""Does a page explain each term where a section uses it first, and change nothing else?"""

from __future__ import annotations

import re

from pages import ABOUT, grid, without_hover

from metabench.records.glossary import GLOSSARY
from metabench.report import page as page_module
from metabench.report.glossary_marks import explain_terms
from metabench.report.study_page import study_page

ABBR = re.compile(r'<abbr title="([^"]*)">(.*?)</abbr>')


def test_the_first_use_in_each_section_is_explained():
    section = "<section><p>Noise scale, noise scale &amp; slope.</p></section>"

    found = explain_terms(2 * section)

    assert [words for _, words in ABBR.findall(found)] == 2 * ["Noise scale", "slope"]
    assert without_hover(found) == 2 * section


def test_headings_links_code_and_figures_stay_as_they_are():
    for name in ("h2", "a", "code", "svg", "style", "script"):
        text = f"<section><{name}>slope</{name}> slope</section>"
        assert explain_terms(text).startswith(text.partition(" slope")[0])
        assert len(ABBR.findall(explain_terms(text))) == 1
    assert explain_terms("<p>slope</p>") == "<p>slope</p>"  # outside of every section


def test_a_page_is_the_same_but_for_the_explanations(monkeypatch):
    marked = study_page(grid(), ABOUT)
    monkeypatch.setattr(page_module, "explain_terms", lambda document: document)
    plain = study_page(grid(), ABOUT)

    assert without_hover(marked) == plain
    titles = {title for title, _ in ABBR.findall(marked)}
    assert any(title.startswith("Tasks in a batch at which noise equals") for title in titles)
    sections = marked.split("<section")[1:]
    assert all(len(found) == len(set(found)) for found in map(ABBR.findall, sections))
    assert len(titles) <= len(GLOSSARY)
