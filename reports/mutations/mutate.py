"""Mutants of a module: one operator, comparison, constant or condition changed at a time."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


class Mutant(NamedTuple):
    """A module with one place changed."""

    line: int
    what: str  # such as "Add -> Sub"
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its nodes."""
    tree = ast.parse(source)
    for index, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node):
            mutated = copy.deepcopy(tree)
            change(list(ast.walk(mutated))[index])
            yield Mutant(getattr(node, "lineno", 0), what, ast.unparse(mutated))


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield what can be changed in a node, and the function that changes it in place."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        other = OPERATORS[type(node.op)]
        yield f"{_name(node.op)} -> {other.__name__}", _Set("op", other())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        new = COMPARISONS[type(node.ops[0])]
        yield f"{_name(node.ops[0])} -> {new.__name__}", _Set("ops", [new(), *node.ops[1:]])
    if isinstance(node, ast.BoolOp):
        both: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{_name(node.op)} -> {_name(both)}", _Set("op", both)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not x -> not not x", _Set("operand", ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{value} -> {value + 1}", _Set("value", value + 1)


class _Set:
    """Sets a field of a node."""

    def __init__(self, name: str, value: object) -> None:
        self.name, self.value = name, value

    def __call__(self, node: ast.AST) -> None:
        setattr(node, self.name, self.value)


Change = _Set


def _name(node: ast.AST) -> str:
    return type(node).__name__
