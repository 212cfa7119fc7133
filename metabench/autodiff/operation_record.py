"""The aten operations of one call of a function, written down to be replayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.weak import WeakTensorKeyDictionary

from metabench.autodiff.operation_watch import OperationWatch, is_random

aten = torch.ops.aten
# Operations that may return their argument unchanged, if it has the layout asked for.
VIEWS = {aten.view.default, aten._unsafe_view.default, aten.expand.default}
SAME = {aten.detach.default, aten.alias.default, aten.lift_fresh.default}


@dataclass(frozen=True)
class Name:
    """A tensor of a record: an input, a constant, or (an item of) an operation's result."""

    variable: str  # i0, i1, ..: inputs; c0, ..: constants; t0, ..: results of operations
    items: tuple[int, ...] = ()  # the place in a result of several tensors

    def __str__(self) -> str:
        """Write it as an expression of Python."""
        return self.variable + "".join(f"[{item}]" for item in self.items)


@dataclass(frozen=True)
class Operation:
    """One operation: tensors among the arguments are names."""

    result: str  # the variable of the result
    function: Any  # torch's OpOverload
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    same_as: Name | None = None  # the argument that was returned unchanged

    @property
    def mutates(self) -> bool:
        """Whether it writes to an argument."""
        return bool(self.function._schema.is_mutable)

    @property
    def random(self) -> bool:
        """Whether two calls give different results."""
        return is_random(self.function)

    def renamed(self, change: Callable[[Name], Name]) -> Operation:
        """Return the operation with every argument's name changed."""
        kwargs = {key: _renamed(value, change) for key, value in self.kwargs.items()}
        return replace(self, args=_renamed(self.args, change), kwargs=kwargs)

    def names(self) -> list[Name]:
        """Return the names among the arguments."""
        found: list[Name] = []

        def note(name: Name) -> Name:
            found.append(name)
            return name

        self.renamed(note)
        return found


@dataclass(frozen=True)
class Record:
    """What a function of tensors did: operations in order, and which tensors it returned."""

    inputs: int  # number of inputs i0, i1, ..
    operations: tuple[Operation, ...]
    constants: Mapping[str, Tensor]  # tensors that are neither inputs nor results
    results: tuple[Name, ...]


def record(function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> Record:
    """Write down the aten operations of `function(*inputs)`.

    The function runs once, on copies of the inputs, so that two inputs that are one tensor are two
    in the record. A record is a function of the inputs only if nothing in Python depended on their
    values.

    Args:
        function: of tensors, returns tensors.
        inputs: example arguments.

    Raises:
        ValueError: if it reads a tensor's value into Python, or writes to an input or a constant.
    """
    recorder = _Recorder([leaf.clone() for leaf in inputs])
    with OperationWatch(recorder.note):
        results = function(*recorder.inputs)
        names = tuple(recorder.name(result) for result in results)
    return simplified(Record(len(inputs), tuple(recorder.operations), recorder.constants, names))


class _Recorder:
    """Names tensors by identity, holding none but inputs and constants."""

    def __init__(self, inputs: list[Tensor]) -> None:
        self.inputs = inputs
        self.operations: list[Operation] = []
        self.constants: dict[str, Tensor] = {}
        self._names = WeakTensorKeyDictionary()
        self._fixed = {leaf.untyped_storage().data_ptr() for leaf in inputs if leaf.numel()}
        for place, leaf in enumerate(inputs):
            self._names[leaf] = Name(f"i{place}")

    def name(self, tensor: Tensor) -> Name:
        """Return a tensor's name; one that no operation made is a constant."""
        if tensor not in self._names:
            constant = Name(f"c{len(self.constants)}")
            self.constants[constant.variable] = tensor
            self._names[tensor] = constant
            self._fixed.add(tensor.untyped_storage().data_ptr())
        known: Name = self._names[tensor]
        return known

    def note(
        self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any
    ) -> None:
        """Write down one operation after it ran."""
        if function is aten._local_scalar_dense.default:
            raise ValueError("it reads a tensor's value into Python")
        operation = Operation(
            f"t{len(self.operations)}",
            function,
            self._named(tuple(args)),
            {key: self._named(value) for key, value in kwargs.items()},
        )
        if operation.mutates:
            self._check_writes(function, args, kwargs)
        elif isinstance(result, Tensor) and _unchanged(function, args, result):
            operation = replace(operation, same_as=self.name(args[0]))
        self.operations.append(operation)
        self._bind(result, Name(operation.result), keep_known=operation.mutates)

    def _named(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.name(value)
        if isinstance(value, list | tuple):
            return type(value)(self._named(part) for part in value)
        return value

    def _bind(self, result: Any, name: Name, keep_known: bool) -> None:
        """Name the tensors of a result; one that was written to in place keeps its name."""
        if isinstance(result, Tensor):
            if not (keep_known and result in self._names):
                self._names[result] = name
        elif isinstance(result, list | tuple):
            for place, part in enumerate(result):
                self._bind(part, Name(name.variable, (*name.items, place)), keep_known)

    def _check_writes(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        arguments = function._schema.arguments
        given = [*zip(arguments, args, strict=False), *(
            (argument, kwargs[argument.name]) for argument in arguments if argument.name in kwargs
        )]  # fmt: skip
        for argument, value in given:
            if argument.is_write:
                for leaf in tree_flatten(value)[0]:
                    if leaf.untyped_storage().data_ptr() in self._fixed:
                        raise ValueError(f"{function} writes to an input or a constant")


def _unchanged(function: Any, args: Sequence[Any], result: Tensor) -> bool:
    """Return whether an operation returned its first argument as it was."""
    if function in SAME:
        return True
    if function not in VIEWS:
        return False
    given = args[0]
    return bool(given.shape == result.shape and given.stride() == result.stride())


def simplified(record: Record) -> Record:
    """Return the record without repeated, unused and void operations; the results are the same.

    With operations that write in place, every operation is kept.
    """
    if any(operation.mutates for operation in record.operations):
        return record
    kept, renamed = _without_repetitions(record.operations)
    results = tuple(renamed(name) for name in record.results)
    return replace(record, operations=_used(kept, results), results=results)


def _without_repetitions(
    operations: Sequence[Operation],
) -> tuple[list[Operation], Callable[[Name], Name]]:
    """Leave out operations whose result is known already; also return the renaming."""
    known: dict[str, Name] = {}  # variable -> the tensor it equals
    seen: dict[Any, str] = {}
    kept = []

    def renamed(name: Name) -> Name:
        same = known.get(name.variable)
        return name if same is None else replace(same, items=same.items + name.items)

    for given in operations:
        operation = given.renamed(renamed)
        if given.same_as is not None:
            known[operation.result] = renamed(given.same_as)
            continue
        key = (operation.function, repr(operation.args), repr(sorted(operation.kwargs.items())))
        if key in seen and not operation.random:
            known[operation.result] = Name(seen[key])
            continue
        seen[key] = operation.result
        kept.append(operation)
    return kept, renamed


def _used(operations: Sequence[Operation], results: Sequence[Name]) -> tuple[Operation, ...]:
    """Leave out operations on which no result depends."""
    needed = {name.variable for name in results}
    kept = []
    for operation in reversed(operations):
        if operation.result in needed:
            kept.append(operation)
            needed |= {name.variable for name in operation.names()}
    return tuple(reversed(kept))


def _renamed(value: Any, change: Callable[[Name], Name]) -> Any:
    if isinstance(value, Name):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_renamed(part, change) for part in value)
    return value
