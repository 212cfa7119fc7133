"""What one call of a user's module and loss shows: state that it changes, shapes that broadcast."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from metabench.problems.networks.functional_module import FunctionalModule, forward

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
ELSEWHERE = 0.9  # parameters and inputs of a call in between, as a multiple of the given ones
ROUND_OFFS = 1000  # of the loss, within which two losses are the same
Key = tuple[str, str]  # a module's name, and the name of its attribute


class ModuleCall(NamedTuple):
    """What one call showed."""

    changed: tuple[str, ...]  # buffers and attributes that it changes, and its output with them
    written: tuple[str, ...]  # attributes that it assigns; of a problem, those that its loss reads
    broadcast: str  # shapes of prediction and y that the loss broadcasts to more entries; or ""


def examine_call(
    module: FunctionalModule,
    loss: Callable[[Any, Any], Tensor],
    phi: Tensor,
    theta: Tensor,
    pair: tuple[Any, Any],
) -> ModuleCall:
    """Call a module three times and its loss up to three times, and leave the module as it was.

    The first call is compared with one that follows a call at other parameters and inputs: what a
    module keeps of its first call, such as a product of weights, differs then.

    Args:
        module: the user's module.
        loss: of a prediction and y.
        phi: adapted parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        pair: x and y.
    """
    x, y = pair
    values = module.values(phi, theta)
    buffers = {name: values[name] for name, _ in module.net.named_buffers()}
    before = {key: _Attribute(value, _parts(value)) for key, value in _attributes(module.net)}
    state = torch.get_rng_state()

    def call(values: dict[str, Tensor], x: Any) -> Any:
        torch.set_rng_state(state)
        return forward(module.net, values, x)

    try:
        prediction = call(values | _copies(buffers), x)
        _restore(module.net, before)
        elsewhere = module.values(ELSEWHERE * phi, ELSEWHERE * theta) | _copies(buffers)
        with contextlib.suppress(Exception):  # not all numbers need be valid
            call(elsewhere, _scaled(x))
        kept = values | {name: elsewhere[name] for name in buffers}  # what this call wrote
        again = call(kept, x)
        changed: tuple[str, ...] = ()
        if not _same(prediction, again):
            written = [name for name, value in buffers.items() if not _same(value, kept[name])]
            changed = (*written, *_changed(module.net, before))
        assigned = tuple(_changed(module.net, before))
    finally:
        torch.set_rng_state(state)
        _restore(module.net, before)
    return ModuleCall(changed, assigned, _broadcast(loss, prediction, y))


def _copies(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in buffers.items()}


def _scaled(x: Any) -> Any:
    """Return inputs with other floating-point numbers."""
    return tree_map(
        lambda leaf: (
            ELSEWHERE * leaf if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf
        ),
        x,
    )


def _broadcast(loss: Callable[[Any, Any], Tensor], prediction: Any, y: Any) -> str:
    """Return the shapes of prediction and y if the loss compares all of one with all of the other.

    Such a loss changes when the prediction is given y's shape, but not when y is permuted. A loss
    that makes the shapes equal itself changes when y is permuted.
    """
    if not (isinstance(prediction, Tensor) and isinstance(y, Tensor)):
        return ""
    if prediction.shape == y.shape or prediction.numel() != y.numel():
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of these shapes
        try:
            together: Any = torch.broadcast_tensors(prediction, y)  # type: ignore[no-untyped-call]
            if together[0].numel() == y.numel():
                return ""
            given, permuted = loss(prediction, y), loss(prediction, y.roll(1, 0))
            reshaped = loss(prediction.reshape(y.shape), y)
        except (RuntimeError, ValueError, IndexError):  # a loss that takes these shapes alone
            return ""
    near = ROUND_OFFS * torch.finfo(given.dtype).eps
    if not torch.isclose(given, permuted, rtol=near) or torch.isclose(given, reshaped, rtol=near):
        return ""
    shapes = (tuple(part.shape) for part in (prediction, y, together[0]))
    return "prediction {}, y {}, together {}".format(*shapes)


class _Attribute(NamedTuple):
    value: Any
    parts: tuple[Any, ...]  # what it held, of a list and the like

    def is_now(self, value: Any) -> bool:
        """Whether nothing was assigned to the attribute, nor written to what it holds."""
        now = _parts(value)
        return value is self.value and [*map(id, now)] == [*map(id, self.parts)]


def _attributes(net: nn.Module) -> list[tuple[Key, Any]]:
    """List the attributes of all modules but those that every module has."""
    return [
        ((name, key), value)
        for name, part in net.named_modules()
        for key, value in vars(part).items()
        if key not in OF_EVERY_MODULE
    ]


def _parts(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(part for pair in value.items() for part in pair)
    return tuple(value) if isinstance(value, list | set) else ()


def _changed(net: nn.Module, before: dict[Key, _Attribute]) -> list[str]:
    """List attributes that were added or replaced, and lists and the like that were written to."""
    return [
        ".".join(filter(None, key))
        for key, value in _attributes(net)
        if key not in before or not before[key].is_now(value)
    ]


def _restore(net: nn.Module, before: dict[Key, _Attribute]) -> None:
    for key, value in _attributes(net):
        attributes, name = vars(net.get_submodule(key[0])), key[1]
        if key not in before:
            del attributes[name]
        elif not before[key].is_now(value):
            old, parts = before[key]
            attributes[name] = old
            _refill(old, parts)


def _refill(held: Any, parts: tuple[Any, ...]) -> None:
    """Give a list, set or dictionary what it held."""
    if isinstance(held, dict):
        held.clear()
        held.update(zip(parts[::2], parts[1::2], strict=True))
    elif isinstance(held, list):
        held[:] = parts
    elif isinstance(held, set):
        held.clear()
        held.update(parts)


def _same(one: Any, other: Any) -> bool:
    """Return whether the tensors of two outputs are the same numbers."""
    pairs = [tree_leaves(one), tree_leaves(other)]
    return len(pairs[0]) == len(pairs[1]) and all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        for a, b in zip(*pairs, strict=True)
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
