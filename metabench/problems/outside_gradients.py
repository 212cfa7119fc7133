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
    theta = theta.detach()
    with torch.enable_grad():
        phi = problem.init(theta)
        inner, outer = problem.inner_loss, problem.outer_loss
        _refuse_leaves("The map from theta to phi_0", phi, problem.init)
        _refuse_leaves("The inner loss", inner(phi, theta, task.support), inner)
        _refuse_leaves("The outer loss", outer(phi, theta, task.query), outer)


def _refuse_leaves(what: str, value: Tensor, function: Callable[..., Tensor]) -> None:
    """Refuse a value of detached tensors that has gradients nevertheless.

    Args:
        what: the function, for the message: "The inner loss".
        value: what it returned.
        function: which may hold the tensors.
    """
    leaves = _leaves(value)
    if not leaves:
        return
    names = dict(_named_tensors(function, "", set()))
    known = {id(tensor): _user_name(name) for name, tensor in reversed(names.items())}
    order = {key: i for i, key in enumerate(reversed(known))}
    leaves.sort(key=lambda leaf: order.get(id(leaf), len(order)))
    found = [known.get(id(leaf), f"a tensor of shape {tuple(leaf.shape)}") for leaf in leaves]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    raise InvalidInput(
        f"{what} has gradients in {', '.join(found[:MOST_NAMED])}{more} beside phi and theta, and "
        "adaptation and meta-gradient would leave these out. Write a loss of the adapted "
        "parameters, such as weight decay, as loss(prediction, y, parameters); call "
        ".requires_grad_(False) on what is constant."
    )


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
