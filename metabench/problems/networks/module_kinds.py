"""Kinds of modules that can't be called with given parameters, and wrappers that can be removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from metabench.settings.errors import InvalidInput


def unwrapped(net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module inside wrappers for several GPUs or for compilation, and notes on them."""
    notes: list[str] = []
    while (inner := _inside(net)) is not None:
        name = "torch.compile" if hasattr(net, "_orig_mod") else type(net).__name__
        notes.append(f"The module inside {name} is measured, without the wrapper.")
        net = inner
    return net, tuple(notes)


def check_kind(net: nn.Module) -> None:
    """Raise InvalidInput, with the way round, for a module that can't be a function of parameters.

    Raises:
        InvalidInput: for lazy, meta, scripted and quantized modules, modules within themselves,
            and embeddings that rewrite their weights.
    """
    if not isinstance(net, nn.Module):
        raise InvalidInput(
            f"The module is a {type(net).__name__}; it must be a torch.nn.Module. A plain function "
            "of parameters can be a metabench.Problem with its own losses."
        )
    if cycle := _cycle(net, "", []):
        raise InvalidInput(
            f"`{cycle}` is a module that holds it as a part, so the module is a part of itself and "
            "its parameters have endless names. Keep such a reference outside of the parts: "
            "self.parent = [parent]."
        )
    for found, sentence in KINDS:
        names = [name or type(net).__name__ for name in found(net)]
        if names:
            raise InvalidInput(f"{_listed(names)}: {sentence}")


def _inside(net: nn.Module) -> nn.Module | None:
    """Return the module that a wrapper holds, None if it is no wrapper."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    inner = net.module if isinstance(net, wrappers) else getattr(net, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


def _cycle(net: nn.Module, name: str, above: list[nn.Module]) -> str:
    """Return the name of the first part that is a module above it, "" if there is none."""
    if any(net is each for each in above):
        return name
    parts = ((f"{name}.{key}".lstrip("."), part) for key, part in net.named_children())
    return next(filter(None, (_cycle(part, path, [*above, net]) for path, part in parts)), "")


def _lazy(net: nn.Module) -> list[str]:
    return [name for name, x in _tensors(net) if isinstance(x, UninitializedParameter)]


def _without_values(net: nn.Module) -> list[str]:
    return [name for name, x in _tensors(net) if x.is_meta]


def _sparse(net: nn.Module) -> list[str]:
    return [name for name, x in net.named_parameters() if x.layout != torch.strided]


def _scripted(net: nn.Module) -> list[str]:
    return [name for name, x in net.named_modules() if isinstance(x, torch.jit.ScriptModule)]


def _quantized(net: nn.Module) -> list[str]:
    return [name for name, x in net.named_modules() if ".quantized" in type(x).__module__]


def _rewritten(net: nn.Module) -> list[str]:
    """Return the embeddings that scale their own weights in each forward."""
    embeddings = nn.Embedding | nn.EmbeddingBag
    return [
        name
        for name, x in net.named_modules()
        if isinstance(x, embeddings) and x.max_norm is not None
    ]


def _tensors(net: nn.Module) -> list[tuple[str, Any]]:
    return [*net.named_parameters(), *net.named_buffers()]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(f"`{name}`" for name in names[:MOST_NAMED]) + more


MOST_NAMED = 3
KINDS: tuple[tuple[Callable[[nn.Module], list[str]], str], ...] = (
    (
        _lazy,
        "no shape yet (a lazy module). Call the module once on a batch before from_module.",
    ),
    (
        _without_values,
        "no values (on the meta device). Build the module on a real device, or call "
        "net.to_empty(device=...) and load its state dict.",
    ),
    (
        _sparse,
        "a sparse parameter; phi and theta hold dense numbers. Make it dense, "
        "nn.Parameter(weight.to_dense()), with a mask as a buffer, or keep its values as the "
        "parameter and its indices as a buffer.",
    ),
    (
        _scripted,
        "TorchScript, which can't be called with other parameters. Give the nn.Module that it was "
        "made from.",
    ),
    (
        _quantized,
        "quantized, with integer weights that have no gradients. Give the module before "
        "quantization.",
    ),
    (
        _rewritten,
        "an embedding with max_norm scales its weights in place in each forward, outside their "
        "gradient. Set max_norm=None, and scale what it returns in forward.",
    ),
)
