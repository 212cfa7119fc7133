"""Tensors beside phi and theta that a loss has gradients in, such as the weights of the module."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metabench.problems.tasks import Task
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from metabench.problems.problem import Problem

MOST_NAMED = 3  # tensors in a message
MOST_DEPTH = 8  # of objects within objects, in the search for a tensor's name


def refuse_outside_gradients(problem: Problem, theta: Tensor, task: Task) -> None:
    """Refuse losses that have gradients in other tensors than phi and theta.

    Args:
        problem: its `init` and both losses are called.
        theta: meta-parameters, `(Q,)`.
        task: one task.

    Raises:
        InvalidInput: names the tensors.
    """
    theta = theta.detach().requires_grad_()
    with torch.enable_grad():
        phi = problem.init(theta).detach().requires_grad_()
        init, inner, outer = problem.init, problem.inner_loss, problem.outer_loss
        calls: tuple[tuple[str, Callable[..., Tensor], Callable[[], Tensor]], ...] = (
            ("The map from theta to phi_0", init, lambda: init(theta)),
            ("The inner loss", inner, lambda: inner(phi, theta, task.support)),
            ("The outer loss", outer, lambda: outer(phi, theta, task.query)),
        )
        for what, function, call in calls:
            # tensors that each call makes anew, such as x.requires_grad_(), are not outside of it
            value = call()
            if function is outer and not value.requires_grad:
                raise InvalidInput(NO_GRADIENT)
            first, again = _leaves(value), _leaves(call())
            known = {id(x) for x in (phi, theta)}
            outside = [x for x in first if id(x) in {id(y) for y in again} - known]
            if outside:
                raise InvalidInput(_sentence(what, outside, function))


def _sentence(what: str, leaves: list[Tensor], function: Callable[..., Tensor]) -> str:
    """Return the sentence on a value that has gradients in other tensors.

    Args:
        what: the function, for the message: "The inner loss".
        leaves: the tensors.
        function: which may hold the tensors.
    """
    names = list(_named_tensors(function, "", set()))
    known = {id(tensor): name for name, tensor in reversed(names)}
    order = {key: i for i, key in enumerate(reversed(known))}
    leaves.sort(key=lambda leaf: order.get(id(leaf), len(order)))
    paths = [known.get(id(leaf), "") for leaf in leaves]
    found = [
        _user_name(path) if path else f"a tensor of shape {tuple(leaf.shape)}"
        for path, leaf in zip(paths, leaves, strict=True)
    ]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    listed = ", ".join(found[:MOST_NAMED]) + more
    if any(OF_MODULE.search(path) for path in paths):
        return (
            f"{what} has gradients in {listed}, which the module uses, but which are not "
            "registered as its parameters: they would be neither adapted nor learned. Register "
            "them in __init__ as nn.Parameter, nn.ParameterList, nn.ParameterDict or "
            "nn.ModuleList, and read them from there in forward; call .requires_grad_(False) on "
            "what is constant."
        )
    return (
        f"{what} has gradients in {listed} beside phi and theta, and "
        "adaptation and meta-gradient would leave these out. Write a loss of the adapted "
        "parameters, such as weight decay, as loss(prediction, y, parameters); call "
        ".requires_grad_(False) on what is constant."
    )


NO_GRADIENT = (
    "The outer loss has no gradient: it is computed from the prediction by .detach(), .data, "
    ".item(), .numpy() or under no_grad, or not from it at all. Compute it from the prediction, by "
    "operations of torch."
)
OF_MODULE = re.compile(r"(^|\.)(module\.net|last_called\._net)\.")  # what the user's module holds


def _user_name(name: str) -> str:
    """Return a name without the path through this package's own functions.

    >>> _user_name("losses.0.given.net.2.weight")
    'net.2.weight'
    """
    return re.sub(r"^(.*\.)?(given|module\.net|last_called\._net)\.", "", name)


def _leaves(value: Tensor) -> list[Tensor]:
    """List the leaves of a value's graph that require gradients."""
    if value.grad_fn is None:
        return [value] if value.requires_grad else []
    found: dict[int, Tensor] = {}
    seen, todo = set(), [value.grad_fn]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            found[id(leaf)] = leaf
        todo += [following for following, _ in node.next_functions if following is not None]
    return list(found.values())


def _named_tensors(held: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors that an object holds, with their names as its code has them."""
    if id(held) in seen or name.count(".") > MOST_DEPTH:
        return
    seen.add(id(held))
    if isinstance(held, Tensor):
        yield name, held
        return
    for part, value in _parts(held):
        yield from _named_tensors(value, f"{name}.{part}" if name else part, seen)


def _parts(held: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object holds, by name; a function, what it uses of other scopes."""
    if isinstance(held, nn.Module):
        yield from held.named_parameters()
        for name, module in held.named_modules():
            yield from ((f"{name}.{key}".lstrip("."), value) for key, value in vars(module).items())
    elif isinstance(held, Mapping):
        yield from ((str(key), value) for key, value in held.items())
    elif isinstance(held, tuple) and hasattr(held, "_fields"):
        yield from zip(held._fields, held, strict=True)
    elif isinstance(held, tuple | list):
        yield from ((str(i), value) for i, value in enumerate(held))
    elif callable(held):
        yield from _parts_of_callable(held)
    elif not inspect.ismodule(held):
        yield from getattr(held, "__dict__", {}).items()


def _parts_of_callable(held: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(held, functools.partial):
        yield from {"func": held.func, "args": held.args, **held.keywords}.items()
    elif inspect.ismethod(held):
        yield "self", held.__self__
    elif inspect.isfunction(held):
        used = inspect.getclosurevars(held)
        yield from {**used.nonlocals, **used.globals}.items()
    elif not isinstance(held, type):
        yield from getattr(held, "__dict__", {}).items()
