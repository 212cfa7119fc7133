"""Is every term found where it is used, and explained in one sentence that the docs repeat?"""

from __future__ import annotations

from pathlib import Path

import pytest

from metabench.records.glossary import GLOSSARY, markdown, terms_in, uses_in

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("term", GLOSSARY)
def test_each_term_is_found_in_every_form_and_explained_in_one_sentence(term):
    for form in (term, term.upper(), f"a {term}.", f"({term}s)", term.replace("-", " ")):
        assert terms_in(form) == [term]

    sentence = GLOSSARY[term]
    assert sentence.endswith(".")
    assert len(sentence) <= 200
    assert ".  " not in sentence


def test_terms_come_in_order_of_use_once_and_the_longest_match_counts():
    text = "Amplification by step, slope; amplification; the slope again; noise-scale"

    assert terms_in(text) == ["amplification by step", "slope", "amplification", "noise scale"]
    assert [text[use.start : use.end] for use in uses_in(text)][:2] == [
        "Amplification by step",
        "slope",
    ]


@pytest.mark.parametrize("text", ["", "slopes_of x", "biased", "my-slope", "a.residual", "cells_"])
def test_no_part_of_another_word_is_a_term(text):
    assert terms_in(text) == []


def test_the_documentation_holds_the_glossary_and_the_readme_points_to_it():
    """Written by `python -c "from metabench.records import glossary as g; print(g.markdown())"`."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")

    assert text.endswith("\n\n" + markdown())
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_the_documentation_has_two_cells_a_line():
    header, rule, *lines = markdown().splitlines()

    assert (header, rule) == ("| term | meaning |", "|---|---|")
    assert len(lines) == len(GLOSSARY)
    assert {line.replace(r"\|", "").count("|") for line in lines} == {3}
