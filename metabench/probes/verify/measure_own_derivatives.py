"""Places in a module or loss whose derivative need not be that of what they compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.nn.functional import embedding
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from metabench.algorithms.base import Algorithm
from metabench.problems.networks.plain_attention import plain_attention
from metabench.problems.tasks import Task
from metabench.records.rows import Row
from metabench.settings.user_errors import user_line_here

if TYPE_CHECKING:
    from metabench.estimation.estimator_on_tasks import Subject

DETACHING = {
    torch.Tensor.detach: "detach()",
    torch.Tensor.detach_: "detach_()",
    torch.detach: "detach()",
    torch.Tensor.data.__get__: ".data",  # type: ignore[attr-defined]
    torch.Tensor.register_hook: "register_hook()",
    torch.Tensor.numpy: ".numpy()",
    torch.Tensor.item: ".item()",
    torch.Tensor.tolist: ".tolist()",
}
NO_GRAD = "no_grad()"
OF_HOOKS = "BackwardHookFunction"  # what full backward hooks of modules put into the graph
BY_FREQUENCY = 5  # position of scale_grad_by_freq among the arguments of `embedding`


def own_derivatives(subject: Subject, task: Task) -> list[Row]:
    """Return a row for each kind of such a place in the losses of one task, with its line.

    Args:
        subject: whose inner and outer loss are called.
        task: one task.
    """
    if not isinstance(subject.algorithm, Algorithm):
        return []
    problem, theta = subject.problem, subject.theta.detach().requires_grad_()
    found: dict[str, str] = {}
    with torch.enable_grad(), plain_attention():
        phi = problem.init(theta).detach().requires_grad_()
        for loss, data in (
            (problem.inner_loss, task.support),
            (problem.outer_loss, task.query),
        ):
            with _Watch(found):
                value = loss(phi, theta, data)
            for name in _functions(value):
                what = "a backward hook" if name == OF_HOOKS else f"torch.autograd.Function {name}"
                found.setdefault(what, "")
    if any("Function" in what for what in found):
        found.pop(NO_GRAD, None)  # a function's forward runs under it
    return [Row("own_derivative", of=f"{what}{line}", status="info")
            for what, line in found.items()]  # fmt: skip


class _Watch(TorchFunctionMode):
    """Notes calls that cut or change gradients, with the line of user code that makes them."""

    def __init__(self, found: dict[str, str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if (what := _kind(func, args, kwargs or {})) and what not in self.found:
            line = user_line_here()
            if line or what.startswith("scale_grad"):
                self.found[what] = line
        return func(*args, **(kwargs or {}))


def _kind(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> str:
    """Return what a call does to gradients, "" for nothing."""
    if func is embedding:
        by_frequency = kwargs.get("scale_grad_by_freq", args[BY_FREQUENCY:][:1] == (True,))
        return "scale_grad_by_freq of an embedding" if by_frequency else ""
    tracked = any(isinstance(x, Tensor) and x.requires_grad for x in tree_leaves((args, kwargs)))
    if not tracked:
        return ""
    if func in DETACHING:
        return DETACHING[func]
    return "" if torch.is_grad_enabled() or _is_a_property(func) else NO_GRAD


def _is_a_property(func: Any) -> bool:
    """Return whether this reads a property of a tensor, such as its shape."""
    return getattr(func, "__name__", "") in ("__get__", "size", "dim", "__len__")


def _functions(value: Tensor) -> list[str]:
    """Return the names of custom functions in a value's graph, without metabench's own."""
    found: dict[str, None] = {}
    seen, todo = set(), [value.grad_fn]
    while todo:
        node: Any = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        home = getattr(type(node), "_forward_cls", type(node)).__module__
        if isinstance(node, BackwardCFunction) and not home.startswith("metabench."):
            found[type(node).__name__.removesuffix("Backward")] = None
        todo += [following for following, _ in node.next_functions]
    return list(found)
