"""A record of operations as a function: generated Python, or a graph for torch's compiler."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.fx import Graph, GraphModule
from torch.nn import Module

from metabench.autodiff.operation_record import Name, Operation, Record


def as_function(record: Record) -> Callable[..., Sequence[Tensor]]:
    """Return a function that runs the same kernels in the same order, and frees early.

    >>> import torch
    >>> from metabench.autodiff.operation_record import record
    >>> double = as_function(record(lambda x: (x + x,), [torch.ones(2)]))
    >>> double(torch.tensor([1.0, 2.0]))
    (tensor([2., 4.]),)
    """
    values: dict[str, Any] = dict(record.constants)
    last = _last_uses(record)
    functions: dict[Any, str] = {}
    lines = []
    for place, operation in enumerate(record.operations):
        function = functions.setdefault(operation.function, f"f{len(functions)}")
        words = [_expression(value, values) for value in operation.args]
        words += [f"{key}={_expression(value, values)}" for key, value in operation.kwargs.items()]
        freed = f"; del {', '.join(last[place])}" if place in last else ""
        lines.append(f"    {operation.result} = {function}({', '.join(words)}){freed}")
    inputs = ", ".join(f"i{place}" for place in range(record.inputs))
    results = "".join(f"{name}, " for name in record.results)
    source = "\n".join([f"def run({inputs}):", *lines, f"    return ({results})", ""])
    values |= {word: function for function, word in functions.items()}
    exec(compile(source, "<record of operations>", "exec"), values)
    run: Callable[..., Sequence[Tensor]] = values["run"]
    return run


def as_graph(record: Record) -> GraphModule:
    """Return the record as a graph of torch.fx."""
    graph, holder = Graph(), Module()
    nodes = {f"i{place}": graph.placeholder(f"i{place}") for place in range(record.inputs)}
    for variable, tensor in record.constants.items():
        holder.register_buffer(variable, tensor)
        nodes[variable] = graph.get_attr(variable)

    def node_of(value: Any) -> Any:
        if isinstance(value, Name):
            node: Any = nodes[value.variable]
            for item in value.items:
                node = graph.call_function(operator.getitem, (node, item))
            return node
        if isinstance(value, list | tuple):
            return type(value)(node_of(part) for part in value)
        return value

    for operation in record.operations:
        kwargs = {key: node_of(value) for key, value in operation.kwargs.items()}
        nodes[operation.result] = graph.call_function(
            operation.function, node_of(operation.args), kwargs
        )
    graph.output(node_of(record.results))
    return GraphModule(holder, graph)


def _last_uses(record: Record) -> dict[int, list[str]]:
    """Return for places of operations the variables that none reads afterwards."""
    returned = {name.variable for name in record.results}
    last: dict[str, int] = {}
    for place, operation in enumerate(record.operations):
        for variable in _variables(operation):
            last[variable] = place
    freed: dict[int, list[str]] = {}
    for variable, place in last.items():
        if variable not in returned and variable.startswith("t"):
            freed.setdefault(place, []).append(variable)
    return freed


def _variables(operation: Operation) -> list[str]:
    """Return the variables that an operation reads or makes."""
    return [operation.result, *(name.variable for name in operation.names())]


def _expression(value: Any, values: dict[str, Any]) -> str:
    """Write an argument as Python; what has no literal becomes a variable in `values`."""
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_expression(part, values) for part in value)}]"
    if type(value) is tuple:
        return f"({''.join(_expression(part, values) + ', ' for part in value)})"
    plain = value is None or type(value) in (bool, int, str)
    if plain or (type(value) is float and math.isfinite(value)):
        return repr(value)
    word = f"k{len(values)}"
    values[word] = value
    return word
