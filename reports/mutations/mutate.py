"""Mutants of a module: one operator, comparison, constant or condition changed at a time."""

from __future__ import annotations

import ast
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


class Change(NamedTuple):
    """A field of a node, and its new value."""

    field: str
    value: object

    def make(self, node: ast.AST) -> None:
        """Set the field."""
        setattr(node, self.field, self.value)


class Mutant(NamedTuple):
    """One place of a module, and how it is changed."""

    line: int
    what: str  # such as "Add -> Sub"
    node: int  # its number in `ast.walk`
    change: Change

    def applied(self, source: str) -> str:
        """Return the module's source with this one change."""
        tree = ast.parse(source)
        nodes = list(ast.walk(tree))
        self.change.make(nodes[self.node])
        return ast.unparse(tree)


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its nodes."""
    for index, node in enumerate(ast.walk(ast.parse(source))):
        for what, change in _changes(node):
            yield Mutant(getattr(node, "lineno", 0), what, index, change)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield what can be changed in a node, and the function that changes it in place."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        other = OPERATORS[type(node.op)]
        yield f"{_name(node.op)} -> {other.__name__}", Change("op", other())
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        new = COMPARISONS[type(node.ops[0])]
        yield f"{_name(node.ops[0])} -> {new.__name__}", Change("ops", [new(), *node.ops[1:]])
    if isinstance(node, ast.BoolOp):
        both: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield f"{_name(node.op)} -> {_name(both)}", Change("op", both)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not x -> not not x", Change("operand", ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{value} -> {value + 1}", Change("value", value + 1)


def _name(node: ast.AST) -> str:
    return type(node).__name__
