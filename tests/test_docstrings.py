"""Do public functions explain their parameters, and public names show an example?"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import metabench

PACKAGE = Path(metabench.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FEWEST_TO_EXPLAIN = 3  # parameters, except self and cls


def _classes() -> Iterator[ast.ClassDef]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield node


METHODS: dict[str, set[str]] = {}
BASES: dict[str, list[str]] = {}
for _class in _classes():
    METHODS.setdefault(_class.name, set()).update(
        node.name for node in _class.body if isinstance(node, ast.FunctionDef)
    )
    BASES.setdefault(_class.name, []).extend(
        base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")
        for base in _class.bases
    )


def overrides(cls: str, name: str, seen: tuple[str, ...] = ()) -> bool:
    """Return whether a base class has a method of this name."""
    return any(
        base not in seen and (name in METHODS.get(base, ()) or overrides(base, name, (*seen, base)))
        for base in BASES.get(cls, ())
    )


def unexplained(body: list[ast.stmt], cls: str = "") -> Iterator[str]:
    """Yield public functions with parameters that their docstring does not explain."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from unexplained(node.body, node.name)
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if cls and overrides(cls, node.name):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names = [each.arg for each in given if each.arg not in ("self", "cls")]
        text = ast.get_docstring(node) or ""
        missing = [name for name in names if "Args:" not in text or f"{name}:" not in text]
        if len(names) >= FEWEST_TO_EXPLAIN and missing:
            yield f"{cls or '-'}.{node.name}: {', '.join(missing)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_public_functions_explain_their_parameters(path):
    assert list(unexplained(ast.parse(path.read_text("utf-8")).body)) == []


@pytest.mark.parametrize("name", [each for each in metabench.__all__ if each != "__version__"])
def test_public_names_show_an_example(name):
    assert ">>>" in (inspect.getdoc(getattr(metabench, name)) or "")
