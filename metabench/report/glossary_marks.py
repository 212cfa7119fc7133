"""Terms of the glossary on a page, explained on hover."""

from __future__ import annotations

import html
import re

from metabench.records.glossary import GLOSSARY, uses_in

# What stands inside of these stays as it is: no prose, or explained where it points.
UNMARKED = ("svg", "style", "script", "title", "h1", "h2", "h3", "a", "code", "pre", "abbr")
TAG = re.compile(r"(<[^>]*>)")
NAME = re.compile(r"</?([a-z0-9]+)")


def explain_terms(document: str) -> str:
    """Return the HTML text with the first use of each term in a section as `<abbr title="...">`.

    >>> explain_terms("<section>The noise scale, and again the noise scale.</section>")[:42]
    '<section>The <abbr title="Tasks in a batch'
    """
    explained: set[str] = set()
    inside: list[str] = []
    in_section = False
    made = []
    for part in TAG.split(document):
        if not part.startswith("<"):
            made.append(_marked(part, explained) if in_section and not inside else part)
            continue
        made.append(part)
        found = NAME.match(part)
        name = found[1] if found else ""
        if name == "section":
            in_section = not part.startswith("</")
            explained.clear()
        if name in UNMARKED and not part.endswith("/>"):
            if not part.startswith("</"):
                inside.append(name)
            elif name in inside:
                inside.remove(name)
    return "".join(made)


def _marked(text: str, explained: set[str]) -> str:
    parts, end = [], 0
    for use in uses_in(text):
        if use.term in explained:
            continue
        explained.add(use.term)
        title = html.escape(GLOSSARY[use.term])
        words = text[use.start : use.end]
        parts += [text[end : use.start], f'<abbr title="{title}">{words}</abbr>']
        end = use.end
    return "".join([*parts, text[end:]])
