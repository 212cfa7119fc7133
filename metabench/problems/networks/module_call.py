"""What one call of a user's module and loss shows: state that it changes, shapes that broadcast."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from metabench.problems.networks.functional_module import FunctionalModule, forward

OF_EVERY_MODULE = frozenset(vars(nn.Module()))
Key = tuple[str, str]  # a module's name, and the name of its attribute


class ModuleCall(NamedTuple):
    """What one call showed."""

    changed: tuple[str, ...]  # buffers and attributes that it changes, and its output with them
    broadcast: str  # shapes of prediction and y that the loss broadcasts to more entries; or ""


def examine_call(
    module: FunctionalModule,
    loss: Callable[[Any], Tensor],
    phi: Tensor,
    theta: Tensor,
    pair: tuple[Any, Any],
) -> ModuleCall:
    """Call a module twice and its loss up to twice, and leave the module as it was.

    Args:
        module: the user's module.
        loss: of a prediction.
        phi: adapted parameters, `(P,)`.
        theta: meta-parameters, `(Q,)`.
        pair: x and y.
    """
    x, y = pair
    values = {name: value.clone() for name, value in module.values(phi, theta).items()}
    buffers = {name: values[name].clone() for name, _ in module.net.named_buffers()}
    attributes = _attributes(module.net)
    kept = {key: _kept(value) for key, value in attributes.items()}
    state = torch.get_rng_state()
    try:
        prediction = forward(module.net, values, x)
        torch.set_rng_state(state)
        again = forward(module.net, values, x)  # values hold what the first call wrote
        changed: tuple[str, ...] = ()
        if not _same(prediction, again):
            written = [name for name, value in buffers.items() if not _same(value, values[name])]
            changed = (*written, *_changed(attributes, kept, module.net))
    finally:
        torch.set_rng_state(state)
        _restore(module.net, kept)
    return ModuleCall(changed, _broadcast(loss, prediction, y))


def _broadcast(loss: Callable[[Any], Tensor], prediction: Any, y: Any) -> str:
    """Return the shapes if the loss changes when the prediction is given y's shape."""
    if not (isinstance(prediction, Tensor) and isinstance(y, Tensor)):
        return ""
    if prediction.shape == y.shape or prediction.numel() != y.numel():
        return ""
    try:
        together: Any = torch.broadcast_tensors(prediction, y)  # type: ignore[no-untyped-call]
        joined = together[0].shape
        reshaped = loss(prediction.reshape(y.shape))
        if joined.numel() == y.numel() or _same(loss(prediction), reshaped):
            return ""
    except (RuntimeError, ValueError, IndexError):  # a loss that takes these shapes alone
        return ""
    shapes = (tuple(prediction.shape), tuple(y.shape), tuple(joined))
    return "prediction {}, y {}, together {}".format(*shapes)


def _attributes(net: nn.Module) -> dict[Key, Any]:
    """Return the attributes of all modules but those that every module has."""
    return {
        (name, key): value
        for name, part in net.named_modules()
        for key, value in vars(part).items()
        if key not in OF_EVERY_MODULE
    }


def _kept(value: Any) -> Any:
    return copy.copy(value) if isinstance(value, list | dict | set) else value


def _changed(before: dict[Key, Any], kept: dict[Key, Any], net: nn.Module) -> list[str]:
    """List attributes that were added or replaced, and lists and the like that were written to."""
    return [
        f"{name}.{key}".lstrip(".")
        for (name, key), value in _attributes(net).items()
        if (name, key) not in before
        or value is not before[name, key]
        or (isinstance(value, list | dict | set) and _ids(value) != _ids(kept[name, key]))
    ]


def _ids(held: Any) -> list[int]:
    return [id(part) for part in (held.values() if isinstance(held, dict) else held)]


def _restore(net: nn.Module, kept: dict[Key, Any]) -> None:
    for name, key in _attributes(net):
        attributes = vars(net.get_submodule(name))
        if (name, key) in kept:
            attributes[key] = kept[name, key]
        else:
            del attributes[key]


def _same(one: Any, other: Any) -> bool:
    """Return whether the tensors of two outputs are the same numbers."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        for a, b in pairs
        if isinstance(a, Tensor) and isinstance(b, Tensor)
    )
