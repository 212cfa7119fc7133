"""Every sentence that metabench can print, read from its sources.

`python tests/printable_sentences.py` writes docs/sentences.md.

Texts are found by their form: a string of at least four words outside of docstrings, `Args:` and
`raise` alike; what a program fills in stands as `{name}`. The first paragraphs of commands and of
members come too, since `--help` and `metabench list` print them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import metabench

PACKAGE = Path(metabench.__file__).parent
LIST = Path(__file__).parent.parent / "docs" / "sentences.md"
PRINTED_DOCSTRINGS = ("cli", "algorithms", "families", "linalg/solvers", "probes")
FEWEST_WORDS = 4
HEAD = """# Every sentence that can be printed

Made from the sources by `python tests/printable_sentences.py`, and held to them by
`tests/test_printable_sentences.py`, so that a change of wording shows as a change of this page.
`{..}` is filled in when it is printed.
"""


def page() -> str:
    """Return the list as a Markdown page, a section a module."""
    parts = [HEAD]
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        found = list(dict.fromkeys(sentences(path.read_text("utf-8"), name)))
        if found:
            parts.append("\n".join([f"## {name}", "", *(f"- {each}" for each in found), ""]))
    return "\n".join(parts)


def sentences(source: str, name: str) -> Iterator[str]:
    """Yield the printable sentences of a module.

    Args:
        source: its text.
        name: its path in the package.
    """
    tree = ast.parse(source)
    documented = {id(_docstring(node)) for node in ast.walk(tree) if _docstring(node)}
    if name.startswith(PRINTED_DOCSTRINGS):
        yield from _printed_docstrings(tree)
    yield from _strings(tree, documented)


def _strings(node: ast.AST, skipped: set[int]) -> Iterator[str]:
    if isinstance(node, ast.Constant | ast.JoinedStr):
        text = _one_line(_text(node))
        if id(node) not in skipped and len(re.findall(r"[A-Za-z]{2,}", text)) >= FEWEST_WORDS:
            yield text
        return
    for child in ast.iter_child_nodes(node):
        yield from _strings(child, skipped)


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            _text(part) if isinstance(part, ast.Constant) else _filled_in(part)
            for part in node.values
        )
    return ""


def _filled_in(part: ast.expr) -> str:
    """Return what is filled in by its plainest name: `{row.value}` as `{value}`."""
    value = part.value if isinstance(part, ast.FormattedValue) else part
    while isinstance(value, ast.Call) and (value.args or isinstance(value.func, ast.Attribute)):
        value = value.args[0] if value.args else value.func
    name = {ast.Name: "id", ast.Attribute: "attr"}.get(type(value))
    return "{" + (getattr(value, name) if name else "..") + "}"


def _printed_docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        printed = isinstance(node, ast.ClassDef) or (
            isinstance(node, ast.FunctionDef) and "click" in ast.dump(ast.List(node.decorator_list))
        )
        if printed and not node.name.startswith("_") and (docstring := _docstring(node)):
            yield _one_line(str(docstring.value).partition("\n\n")[0])


def _docstring(node: ast.AST) -> ast.Constant | None:
    body = getattr(node, "body", None)
    first = body[0] if isinstance(body, list) and body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return first.value
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    LIST.write_text(page(), encoding="utf-8")
