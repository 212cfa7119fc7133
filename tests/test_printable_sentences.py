"""Is the page of all printable sentences up to date?"""

from __future__ import annotations

import printable_sentences


def test_the_page_of_sentences_is_what_the_sources_say():
    """If not: `python tests/printable_sentences.py`, and read what changed."""
    assert printable_sentences.LIST.read_text(encoding="utf-8") == printable_sentences.page()


def test_sentences_are_found_whole_and_docstrings_left_out():
    source = '"""Not this one, a docstring."""\ny = f"One of {x.name} and " "two more words"'

    found = list(printable_sentences.sentences(source, "grid/x.py"))

    assert found == ["One of {name} and two more words"]
