"""Tracing and compiling functions that are called many times with fixed shapes.

`trace` records the aten operations of a function once and replays them: the same kernels in the
same order, hence bitwise the same results, without the Python cost of nested transforms. `compile`
passes that record to inductor, which fuses it: equal to round-off. `auto` runs each shape eagerly
until the calls made would have paid for tracing it, then traced until they would have paid for
compiling it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from metabench.autodiff.operation_record import record
from metabench.autodiff.replay import as_function, as_graph

ENGINES = ("auto", "eager", "trace", "compile")


class BreakEven(NamedTuple):
    """Number of calls at one shape after which tracing and compiling have paid for their set-up.

    The time of a cold set-up over the time saved per call (`python benchmarks/engines.py`).
    Constants, not measured times, so that a repeated command chooses the same engine and gives the
    same bits.
    """

    trace: float  # [calls]
    compile: float  # [calls]


BREAK_EVEN_VMAP = BreakEven(trace=18, compile=1_100)  # vmapped tasks: much Python
BREAK_EVEN_LOOP = BreakEven(trace=60, compile=13_000)  # one task by autograd: little Python

Flat = Callable[..., Sequence[Tensor]]


@dataclass
class _Specialization:
    """The function as run for one shape of the arguments."""

    run: Callable[[tuple[Any, ...], Sequence[Tensor]], Any]  # (arguments, their leaves) -> result
    engine: str = "eager"
    calls: int = 0


def accelerate(
    function: Callable[..., Any], engine: str = "auto", break_even: BreakEven = BREAK_EVEN_VMAP
) -> Callable[..., Any]:
    """Return a function of tensors (any pytree) that runs traced or compiled.

    If tracing or compiling fails, or changes the results, the function runs eagerly; where the
    engine was asked for by name, a warning names the cause.

    Args:
        function: must depend on nothing but its arguments.
        engine: one of `ENGINES`.
        break_even: numbers of calls from which `auto` traces and compiles.
    """
    specializations: dict[Any, _Specialization] = {}

    def apply(*args: Any) -> Any:
        leaves: list[Tensor] = []
        structure = _structure(args, leaves)
        key = structure, *[(leaf.shape, leaf.dtype, leaf.device) for leaf in leaves]
        current = specializations.get(key)
        if current is None:
            eager = _Specialization(lambda args, leaves: function(*args))
            current = specializations[key] = eager
        wanted = engine_for(current.calls, break_even) if engine == "auto" else engine
        if wanted != current.engine:
            made = _with_copied_results(function, wanted, args, asked=engine != "auto")
            current.run = made or current.run
            current.engine = wanted
        current.calls += 1
        return current.run(args, leaves)

    return apply


def _structure(tree: Any, leaves: list[Tensor]) -> Any:
    """Append a pytree's leaves to `leaves`, in torch's order, and return a key of its structure.

    Faster than torch's flattening, which takes as long as a dozen small kernels.
    """
    if isinstance(tree, Tensor):
        leaves.append(tree)
        return None
    if isinstance(tree, tuple):
        return type(tree), *[_structure(part, leaves) for part in tree]
    parts, spec = tree_flatten(tree)
    leaves += parts
    return spec


def engine_for(calls: int, break_even: BreakEven = BREAK_EVEN_VMAP) -> str:
    """Return the engine that has paid off after this number of calls."""
    if calls >= break_even.compile:
        return "compile"
    return "trace" if calls >= break_even.trace else "eager"


class Specialized(NamedTuple):
    """A traced or compiled function: leaves of the arguments in, leaves of the result out.

    The results are inference tensors, which autograd rejects.
    """

    run: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    result: TreeSpec


def specialize(
    function: Callable[..., Any],
    engine: str,
    args: tuple[Any, ...],
    expected: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None = None,
) -> Specialized | None:
    """Trace or compile a function for given arguments; None, with a warning, if that fails.

    The result is compared with that of the function. Callers must keep the structure, shapes and
    dtypes of the arguments, which are not checked again.

    Args:
        function: must depend on nothing but its arguments.
        engine: "trace" or "compile".
        args: example arguments.
        expected: computes the results to compare with from the results found, where some results
            amplify the round-off of others; None: the function's.
    """
    leaves, spec = tree_flatten(args)
    result: list[TreeSpec] = []

    def flat(*leaves: Tensor) -> Sequence[Tensor]:
        out, out_spec = tree_flatten(function(*tree_unflatten(leaves, spec)))
        result[:] = [out_spec]
        return tuple(out)

    try:
        written = record(flat, leaves)
        made = replay = as_function(written)
        _check_at_other_arguments(flat, replay, leaves)
        if engine == "compile":
            made = compiled(as_graph(written), leaves)
        if engine == "compile" or expected is not None:
            found = made(*leaves)
            reference = replay(*leaves) if expected is None else expected(found)
            _check_same(reference, found, exactly=engine == "trace")
    except Exception as error:  # tracing runs a user's loss, compiling a C++ or GPU compiler
        cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        warnings.warn(
            f"metabench could not {engine} this function and runs it eagerly: {cause}",
            RuntimeWarning,
            stacklevel=4,
        )
        return None

    def run(leaves: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.inference_mode():  # without autograd's bookkeeping
            return made(*leaves)

    return Specialized(run, result[0])


def _with_copied_results(
    function: Callable[..., Any], engine: str, args: tuple[Any, ...], asked: bool
) -> Callable[[tuple[Any, ...], Sequence[Tensor]], Any] | None:
    """Specialize a function and copy its results, so that autograd accepts them.

    A user who asked for an engine by name is warned if it can't be had.

    Args:
        function: must depend on nothing but its arguments.
        engine: "trace" or "compile".
        args: example arguments.
        asked: whether the engine was asked for, rather than chosen by `auto`.
    """
    with warnings.catch_warnings():
        if not asked:
            warnings.filterwarnings("ignore", "metabench could not", RuntimeWarning)
        made = specialize(function, engine, args)
    if made is None:
        return None
    call, spec = made
    simple = spec == tree_flatten((0,) * spec.num_leaves)[1]

    def run(args: tuple[Any, ...], leaves: Sequence[Tensor]) -> Any:
        copies = [result.clone() for result in call(leaves)]
        return tuple(copies) if simple else tree_unflatten(copies, spec)

    return run


def compiled(graph: GraphModule, leaves: Sequence[Tensor]) -> Flat:
    """Compile a recorded graph with inductor, which caches it on disk."""
    from torch._inductor import standalone_compile  # plain `compile` bypasses the caches

    examples: list[Any] = [leaf.clone() for leaf in leaves]
    made: Flat = standalone_compile(graph, examples, dynamic_shapes="from_example_inputs")
    return made


def _check_at_other_arguments(flat: Flat, replay: Flat, leaves: Sequence[Tensor]) -> None:
    """Compare bit by bit where the arguments differ from those that were recorded.

    At the recorded ones, a result that Python made from their values would look right.
    """
    others = [_moved(leaf) for leaf in leaves]
    try:
        expected = flat(*others)
    except Exception:  # not all numbers need be valid arguments
        others, expected = list(leaves), flat(*leaves)
    _check_same(expected, replay(*others), exactly=True)


def _moved(leaf: Tensor) -> Tensor:
    """Return other numbers of the same range: the rows in another order, a little smaller."""
    rolled = leaf.roll(1, 0) if leaf.ndim else leaf
    return rolled * (1 - 2**-10) if rolled.is_floating_point() else rolled.clone()


def _check_same(expected: Sequence[Tensor], found: Sequence[Tensor], exactly: bool) -> None:
    for a, b in zip(expected, found, strict=True):
        if exactly or not a.is_floating_point():
            same = torch.equal(a.nan_to_num(), b.nan_to_num())
        else:
            # scaled by the largest entry, whose square may overflow
            largest = float(a.nan_to_num().abs().max()) if a.numel() else 0.0
            size, off = ((each.nan_to_num() / (largest or 1.0)).norm() for each in (a, a - b))
            same = bool(off <= torch.finfo(a.dtype).eps ** 0.75 * size)
            same = same and torch.equal(a.isfinite(), b.isfinite())
        if not same:
            raise ArithmeticError(
                "the results differ; does the function depend on more than its input?"
            )
