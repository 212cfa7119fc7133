"""Inspection and validation of a user's module before its parameters are flattened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from metabench.problems.networks.module_copies import copy_with_values
from metabench.problems.networks.module_kinds import check_kind, unwrapped
from metabench.problems.networks.module_state import make_a_function
from metabench.problems.networks.norm_layers import PlainNorm, kept_batch_norms, uses_its_batch
from metabench.settings.errors import InvalidInput, unknown

# Their fused kernels have wrong third derivatives, and wrong second ones of a vmapped function
# (https://github.com/pytorch/pytorch/issues/196699, https://github.com/pytorch/functorch/issues/534).
FUSED = (_NormBase, nn.LayerNorm)
NORMS = (*FUSED, nn.GroupNorm, nn.RMSNorm, PlainNorm)


def copy_for_inner_loop(net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a copy of a module for the inner loop, and notes on what was changed in it.

    Batch and instance norm in training mode use batch statistics, as in MAML; their running
    statistics are neither used nor updated.

    Raises:
        InvalidInput: if dropout is active, since a recomputed step would draw other masks, or if
            it is a module that can't be called with given parameters.
    """
    check_kind(net)
    net, unwrapping = unwrapped(net)
    _refuse_dropout(net)
    hooked = _hook_notes(net)
    net = copy_with_values(net)
    switched = make_a_function(net)
    changed = [
        name
        for name, module in net.named_modules()
        if isinstance(module, _NormBase) and module.training and module.track_running_stats
    ]
    for name in changed:
        module: Any = net.get_submodule(name)
        module.track_running_stats = False
        module.running_mean = module.running_var = module.num_batches_tracked = None
    note = (
        f"{_listed(net, changed)}: the inner loop uses batch statistics and leaves running "
        "statistics unchanged (to use running statistics, call .eval() before from_module)."
    )
    return net, (*unwrapping, *hooked, *switched, *((note,) if changed else ()))


def subclass_notes(net: nn.Module) -> tuple[str, ...]:
    """Return a note on batch norms of a user's class, whose statistics aren't recorded."""
    kept = kept_batch_norms(net)
    note = (
        f"{', '.join(kept)}: a batch norm of a custom class keeps its own forward, so "
        "mamlpp does not average its statistics."
    )
    return (note,) if kept else ()


def fused_norms(net: nn.Module) -> tuple[str, ...]:
    """Return the names of modules whose fused kernels have wrong third derivatives."""
    return tuple(
        f"{name or 'the module itself'} ({type(module).__name__})"
        for name, module in net.named_modules()
        if isinstance(module, nn.LayerNorm) or uses_its_batch(module)
    )


def norm_parameters(net: nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that are scales and shifts of a norm, group norm included."""
    homes = {name for name, module in net.named_modules() if isinstance(module, NORMS)}
    return tuple(name for name in names if name.rpartition(".")[0] in homes)


def aliases(net: nn.Module) -> dict[str, str]:
    """Return the further names of tied parameters and buffers -> the name that torch lists."""
    listed = {id(v): name for each in (net.named_parameters(), net.named_buffers())
              for name, v in each}  # fmt: skip
    every = (
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    )
    return {name: listed[id(value)] for name, value in every if listed[id(value)] != name}


def matching_names(
    parameters: Mapping[str, Tensor], patterns: Iterable[str], what: str
) -> tuple[str, ...]:
    """Return the names that match shell patterns such as `head.*` or `*.lora_?`, in order.

    Args:
        parameters: by name.
        patterns: one pattern or several.
        what: what the patterns select, for the message.

    Raises:
        InvalidInput: if a pattern matches no name.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise unknown("parameter", pattern, parameters, f" for {what}")
    return tuple(
        name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def check_one_kind(parameters: Mapping[str, Tensor]) -> None:
    """Raise InvalidInput unless there are parameters, all of one device and dtype."""
    if not parameters:
        raise InvalidInput(
            "No parameter is adapted, because all have requires_grad=False. Name some: "
            'adapt=["head.*"].'
        )
    for name, value in parameters.items():
        if value.is_complex():
            raise InvalidInput(
                f"`{name}` is {value.dtype}; phi and theta hold real numbers. Make its real and "
                "imaginary parts two real parameters, and join them in forward: "
                "torch.complex(self.re, self.im)."
            )
    first, *rest = parameters.items()
    for name, value in rest:
        for word in ("device", "dtype"):
            if getattr(value, word) != getattr(first[1], word):
                raise InvalidInput(
                    f"Parameters have two {word}s: {first[0]} is {getattr(first[1], word)}, "
                    f"{name} is {getattr(value, word)}. Move the module to one with net.to(...)."
                )


def precision_notes(parameters: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return a note on parameters in half precision, whose values are used in theta's dtype."""
    kinds = {str(value.dtype).removeprefix("torch.") for value in parameters.values()}
    return tuple(
        f"Parameters of the module are {kind}: their values are used in theta's dtype, which is "
        f"float32 or float64 unless you give a Subject another, so what rounding to {kind} in "
        "training does is not measured."
        for kind in ("bfloat16", "float16")
        if kind in kinds
    )


def _hook_notes(net: nn.Module) -> tuple[str, ...]:
    """Return a note on hooks on parameters, which the adapted ones, other tensors, don't have."""
    names = [
        f"`{name}`"
        for name, value in net.named_parameters()
        if value._backward_hooks or value._post_accumulate_grad_hooks
    ]
    note = (
        f"{', '.join(names)}: hooks on parameters do not run, neither in the inner loop nor in the "
        "meta-gradient. What masks or scales a gradient there has no effect here; a mask in "
        "forward, weight * mask, has."
    )
    return (note,) if names else ()


def _refuse_dropout(net: nn.Module) -> None:
    active = [
        name
        for name, module in net.named_modules()
        if module.training and _dropout_share(module) > 0
    ]
    if active:
        raise InvalidInput(
            f"{_listed(net, active)} would draw dropout masks in the inner loop, different ones "
            "each time a step is recomputed, and the meta-gradient would be silently wrong. Call "
            "net.eval(), or set p = 0."
        )


def _dropout_share(module: nn.Module) -> float:
    if isinstance(module, _DropoutNd):
        return module.p
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout
    return 0.0


def _listed(net: nn.Module, names: list[str]) -> str:
    return ", ".join(f"{name} ({type(net.get_submodule(name)).__name__})" for name in names)
