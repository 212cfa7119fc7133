"""How does a function that is applied many times at fixed shapes become fast?

`trace` records the function's aten operations once and replays them: the same kernels in the same
order, hence the same bits, without the Python cost of nested transforms. `compile` hands that
record to inductor, which fuses it: equal to round-off. `auto` rents before it buys: each shape runs
eagerly until tracing it would have paid, then traced until compiling it would have.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

# The pytrees that torch.func itself accepts; torch has no public name for these yet.
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

ENGINES = ("auto", "eager", "trace", "compile")


class BreakEven(NamedTuple):
    """Applications at one shape after which tracing and compiling have paid for their set-up.

    That is cold set-up over what each later application saves (`python benchmarks/engines.py`).
    Counts, not clocks: a repeated command makes the same choice, and gives the same bits.
    """

    trace: float  # [applications]
    compile: float  # [applications]


BREAK_EVEN_VMAP = BreakEven(
    trace=140, compile=1_100
)  # vmapped tasks: Python costs more than the arithmetic
BREAK_EVEN_LOOP = BreakEven(
    trace=math.inf, compile=13_000
)  # one task by autograd, which has little Python

# Views that often ask for the shape and strides their argument has.
VIEWS = {
    torch.ops.aten.view.default,
    torch.ops.aten._unsafe_view.default,
    torch.ops.aten.expand.default,
}

Flat = Callable[..., Sequence[Tensor]]


@dataclass
class _Shape:
    """What is known of one shape of the arguments."""

    run: Callable[[tuple[Any, ...], Sequence[Tensor]], Any]  # (arguments, their leaves) -> result
    word: str = "eager"
    applied: int = 0


def accelerate(
    function: Callable[..., Any], engine: str = "auto", patience: BreakEven = BREAK_EVEN_VMAP
) -> Callable[..., Any]:
    """Make a function of tensors (any pytree) fast; `engine` is one of `ENGINES`.

    The function must depend on nothing but its arguments. What can't be traced or compiled, or
    gives other numbers when it is, runs eagerly, with a warning that names the cause.
    """
    shapes: dict[Any, _Shape] = {}

    def apply(*args: Any) -> Any:
        leaves: list[Tensor] = []
        form = _form(args, leaves)
        key = form, *[(leaf.shape, leaf.dtype, leaf.device) for leaf in leaves]
        shape = shapes.get(key)
        if shape is None:
            shape = shapes[key] = _Shape(lambda args, leaves: function(*args))
        wanted = engine_for(shape.applied, patience) if engine == "auto" else engine
        if wanted != shape.word:
            shape.run, shape.word = _copied(function, wanted, args) or shape.run, wanted
        shape.applied += 1
        return shape.run(args, leaves)

    return apply


def _form(tree: Any, leaves: list[Tensor]) -> Any:
    """Collect a pytree's leaves, in torch's order, and give what tells its form from others.

    torch's own flattening takes as long as a dozen small kernels.
    """
    if isinstance(tree, Tensor):
        leaves.append(tree)
        return None
    if isinstance(tree, tuple):
        return type(tree), *[_form(part, leaves) for part in tree]
    parts, spec = tree_flatten(tree)
    leaves += parts
    return spec


def engine_for(applied: int, patience: BreakEven = BREAK_EVEN_VMAP) -> str:
    """Name the engine that pays from so many applications on."""
    if applied >= patience.compile:
        return "compile"
    return "trace" if applied >= patience.trace else "eager"


class Specialized(NamedTuple):
    """A function made for arguments of one form: leaves in, leaves of its result out.

    Those are inference tensors, which autograd refuses.
    """

    run: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    result: TreeSpec


def specialize(
    function: Callable[..., Any],
    engine: str,
    args: tuple[Any, ...],
    expected: Callable[[Sequence[Tensor]], Sequence[Tensor]] | None = None,
) -> Specialized | None:
    """Trace or compile a function for arguments like these; None, with a warning, if it can't be.

    Whoever calls it keeps to their form, shapes and dtypes: nothing looks at them any more. What
    it finds is held against what the function gives, or against what is `expected` of what it
    found, where a part of the result follows from another too steeply for round-off.
    """
    leaves, spec = tree_flatten(args)
    result: list[TreeSpec] = []

    def flat(*leaves: Tensor) -> Sequence[Tensor]:
        out, out_spec = tree_flatten(function(*tree_unflatten(leaves, spec)))
        result[:] = [out_spec]
        return tuple(out)

    try:
        graph = traced(flat, leaves)
        made = compiled(graph, leaves) if engine == "compile" else graph
        found = made(*leaves)
        right = flat(*leaves) if expected is None else expected(found)
        _expect_same(right, found, exactly=engine == "trace")
    except Exception as error:  # tracing runs a stranger's loss, compiling a stranger's compiler
        cause = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        warnings.warn(
            f"metabench could not {engine} this function and goes on without: {cause}",
            RuntimeWarning,
            stacklevel=4,
        )
        return None

    def run(leaves: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.inference_mode():  # nothing of autograd's at each operation
            return made(*leaves)

    return Specialized(run, result[0])


def _copied(
    function: Callable[..., Any], engine: str, args: tuple[Any, ...]
) -> Callable[[tuple[Any, ...], Sequence[Tensor]], Any] | None:
    """Make a function for one form, whose results autograd takes: copies."""
    made = specialize(function, engine, args)
    if made is None:
        return None
    call, spec = made
    simple = spec == tree_flatten((0,) * spec.num_leaves)[1]

    def run(args: tuple[Any, ...], leaves: Sequence[Tensor]) -> Any:
        copies = [result.clone() for result in call(leaves)]
        return tuple(copies) if simple else tree_unflatten(copies, spec)

    return run


def traced(flat: Flat, leaves: Sequence[Tensor]) -> GraphModule:
    """Record the aten operations of a function of tensors."""
    from torch.fx.experimental.proxy_tensor import make_fx  # takes half a second to import

    # Clones, because make_fx takes aliased arguments for one: phi_0 is theta under the identity.
    graph: GraphModule = make_fx(flat)(*(leaf.clone() for leaf in leaves))
    graph.graph.eliminate_dead_code()
    for node in graph.graph.nodes:
        if node.target in VIEWS and _alike(node, node.args[0]):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def compiled(graph: GraphModule, leaves: Sequence[Tensor]) -> Flat:
    """Fuse a recorded function with inductor, whose caches on disk outlive the process."""
    from torch._inductor import standalone_compile  # plain `compile` bypasses the caches

    examples: list[Any] = [leaf.clone() for leaf in leaves]
    made: Flat = standalone_compile(graph, examples, dynamic_shapes="from_example_inputs")
    return made


def _alike(one: torch.fx.Node, other: torch.fx.Node) -> bool:
    a, b = one.meta.get("tensor_meta"), other.meta.get("tensor_meta")
    return a is not None and b is not None and a.shape == b.shape and a.stride == b.stride


def _expect_same(expected: Sequence[Tensor], found: Sequence[Tensor], exactly: bool) -> None:
    for a, b in zip(expected, found, strict=True):
        if exactly or not a.is_floating_point():
            same = torch.equal(a.nan_to_num(), b.nan_to_num())
        else:
            # over the largest number, whose square may not be finite
            largest = float(a.nan_to_num().abs().max()) if a.numel() else 0.0
            size, off = ((each.nan_to_num() / (largest or 1.0)).norm() for each in (a, a - b))
            same = bool(off <= torch.finfo(a.dtype).eps ** 0.75 * size)
            same = same and torch.equal(a.isfinite(), b.isfinite())
        if not same:
            raise ArithmeticError("it gives other numbers; does it depend on more than its input?")
