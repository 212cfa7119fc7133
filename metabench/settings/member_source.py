"""What does a member's source say of it? Read as text, so nothing is imported for it."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
import re
import tokenize
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, NamedTuple


class Description(NamedTuple):
    """A member in one line, with the paper it follows."""

    summary: str
    reference: str


class Field(NamedTuple):
    """A field as its line has it."""

    name: str
    default: str  # as --set takes it; "" where there is none
    meaning: str
    unit: str


class Source(NamedTuple):
    """A class as it stands in a file."""

    node: ast.ClassDef
    tree: ast.Module
    lines: list[str]
    package: str  # that its relative imports start from


def describe(target: str) -> Description:
    """Read the summary and the reference off the docstring of "module:Class"."""
    module, _, attribute = target.rpartition(":")
    fault = _import_fault(module)
    if fault:
        return Description(f"({fault})", "")
    found = _find(module, attribute)
    text = inspect.cleandoc((ast.get_docstring(found.node) if found else None) or "")
    references = re.findall(r"\(([^()]*\d{4}, https?://[^()\s]+)\)", " ".join(text.split()))
    summary = re.sub(r":math:`([^`]*)`", r"\1", text.partition("\n")[0])
    return Description(summary, references[0] if references else "")


def field_lines(target: str) -> list[Field]:
    """Read the fields of a dataclass, inherited ones first.

    A base class is followed to where it is imported from; one that can't be found there, since its
    package makes its names at run time, is left out.
    """
    found: dict[str, Field] = {}
    for source in _lineage(target):
        for node in source.node.body:
            if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
                name = ast.unparse(node.target)
                found[name] = _field(name, node, source)
    return list(found.values())


def class_words(target: str, name: str) -> tuple[str, ...]:
    """Read a class variable that is a tuple of words; () where there is none."""
    for source in reversed(list(_lineage(target))):
        for node in source.node.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return tuple(ast.literal_eval(node.value)) if node.value else ()
    return ()


def class_text(target: str, name: str) -> str:
    """Read a class variable that is a text; "" where there is none."""
    for source in reversed(list(_lineage(target))):
        for node in source.node.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return str(ast.literal_eval(node.value)) if node.value else ""
    return ""


def class_flag(target: str, name: str) -> bool:
    """Read a class variable that is True or False; False where there is none."""
    for source in reversed(list(_lineage(target))):
        for node in source.node.body:
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
                return bool(ast.literal_eval(node.value)) if node.value else False
    return False


def path_of(module: str) -> Path | None:
    """Find the file of a module, "package.module" or "path/to/file.py", without importing any."""
    if module.endswith(".py"):
        return Path(module) if Path(module).is_file() else None
    top, *rest = module.split(".")
    spec = _spec(top)
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = ".".join((top, *rest[: depth + 1]))
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    origin = spec and spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None


def _spec(top: str) -> ModuleSpec | None:
    """Find a module that lies in no package; that imports nothing."""
    try:
        return importlib.util.find_spec(top) if top else None
    except (ImportError, ValueError):  # the latter of a module that was made by hand
        return None


def _import_fault(module: str) -> str:
    """Say why a module can't be imported, as far as its own lines tell; "" if they don't."""
    path = path_of(module)
    if path is None:
        return "not installed"
    tree = _parsed(path)
    if tree is None:
        return f"can't be imported: {path.name} is not valid Python"
    names = (name for node in tree.body for name in _imported(node, _package(module, path)))
    missing = next((name for name in names if not _exists(name)), None)
    return f"can't be imported: there is no module {missing}" if missing else ""


def _imported(node: ast.stmt, package: str) -> list[str]:
    """Name the modules that a statement imports; what is imported under a condition isn't sure."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [importlib.util.resolve_name(f"{'.' * node.level}{node.module or ''}", package)]
    return []


def _exists(module: str) -> bool:
    """Whether there is such a package; of metabench also whether it has the module."""
    top = module.partition(".")[0]
    return path_of(module) is not None if top == "metabench" else _spec(top) is not None


def _lineage(target: str) -> Iterator[Source]:
    """Give a class and what it derives from, the bases first."""
    module, _, attribute = target.rpartition(":")
    found = _find(module, attribute)
    if found is None:
        return
    for base in map(ast.unparse, reversed(found.node.bases)):
        yield from _lineage(_origin(base, found.tree, found.package) or f"{module}:{base}")
    yield found


def _find(module: str, name: str) -> Source | None:
    """Find a class in a file, or where the file imports it from."""
    path = path_of(module)
    if path is None or not name:
        return None
    tree = _parsed(path)
    if tree is None:
        return None
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return Source(node, tree, _lines(path), _package(module, path))
    home, _, origin = _origin(name, tree, _package(module, path)).rpartition(":")
    return _find(home, origin)


def _parsed(path: Path) -> ast.Module | None:
    """Parse a file; None if it isn't Python, which is said in a sentence where it is run."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the latter of null bytes
        return None


def _lines(path: Path) -> list[str]:
    with tokenize.open(path) as file:
        return file.read().splitlines()


def _package(module: str, path: Path) -> str:
    """Name the package that relative imports of a module start from."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _origin(name: str, tree: ast.Module, package: str) -> str:
    """Say where a name that a file imports comes from, as "module:Name"; "" if it imports none."""
    first, _, last = name.rpartition(".")
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in _named(node):
            home = f"{'.' * node.level}{node.module or ''}"
            return f"{importlib.util.resolve_name(home, package)}:{_named(node)[name]}"
        if isinstance(node, ast.Import) and first in _named(node):
            return f"{_named(node)[first]}:{last}"
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Dict):
            held = _literal(node.value)  # metabench itself imports its names on first use
            if isinstance(held.get(name), str):
                return f"{held[name]}:{name}"
    return ""


def _named(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Map the names that an import makes to what they stand for."""
    return {alias.asname or alias.name: alias.name for alias in node.names}


def _literal(node: ast.Dict) -> dict[Any, Any]:
    try:
        return dict(ast.literal_eval(node))
    except ValueError:  # not all of it is written out
        return {}


def _field(name: str, node: ast.AnnAssign, source: Source) -> Field:
    """Read a field's default and the comment behind it, which ends in its unit."""
    line = source.lines[(node.end_lineno or node.lineno) - 1].encode()
    comment = line[node.end_col_offset or 0 :].decode().partition("#")[2].strip()
    meaning, _, unit = comment.rstrip("]").partition(" [")
    return Field(name, _default(node.value, source.tree), meaning, unit)


def _default(value: ast.expr | None, tree: ast.Module) -> str:
    """Write a default the way --set takes it, as far as its line tells."""
    match value:
        case None:
            return ""
        case ast.Constant():
            return constant_text(value.value)
        case ast.Tuple():
            return ",".join(_default(part, tree) for part in value.elts)
        case ast.Name():
            return _constant(value.id, tree)
        case ast.Call(func=ast.Name(id="field")):
            keywords = {word.arg: word.value for word in value.keywords}
            return _default(keywords.get("default", keywords.get("default_factory")), tree)
        case ast.Lambda():
            return _default(value.body, tree)
    return ast.unparse(value).replace("math.", "")


def constant_text(value: object) -> str:
    """Write a constant as --set takes it; large numbers with an exponent.

    >>> constant_text(3e10), constant_text(0.5), constant_text("adam")
    ('3e+10', '0.5', 'adam')
    """
    return f"{value:g}" if isinstance(value, float) and 1e6 <= value < math.inf else str(value)


def _constant(name: str, tree: ast.Module) -> str:
    """Look a constant of the module up; what isn't there stays a name."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and name in map(ast.unparse, node.targets):
            return ast.unparse(node.value)
    return name
