"""What must be known of a user's `nn.Module` before its parameters become one vector."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from metabench.problems.networks.norm_layers import PlainNorm
from metabench.settings.errors import InvalidInput, unknown

# Their fused kernels have wrong third derivatives, and wrong second ones of a vmapped function
# (https://github.com/pytorch/pytorch/issues/196699, https://github.com/pytorch/functorch/issues/534).
FUSED = (_NormBase, nn.LayerNorm)
NORMS = (*FUSED, nn.GroupNorm, nn.RMSNorm, PlainNorm)


def copy_for_inner_loop(net: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Copy a module for use in an inner loop, and say in sentences what was changed in the copy.

    Batch and instance norm in training mode use the statistics of the batch at hand, as MAML's do;
    their running statistics are neither used nor updated.

    Raises:
        InvalidInput: if dropout is active, whose masks a recomputed step would draw anew.
    """
    _refuse_dropout(net)
    net = copy.deepcopy(net)
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
        f"{_listed(net, changed)}: statistics of the batch at hand in the inner loop, running "
        "statistics untouched (call .eval() before from_module to use those instead)."
    )
    return net, (note,) if changed else ()


def fused_norms(net: nn.Module) -> tuple[str, ...]:
    """Name the modules whose fused kernels have wrong derivatives beyond the second."""
    return tuple(
        f"{name or 'the module itself'} ({type(module).__name__})"
        for name, module in net.named_modules()
        if isinstance(module, FUSED) and module.weight is not None
    )


def norm_parameters(net: nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """Name those parameters that scale and shift what a norm gives, group norm included."""
    homes = {name for name, module in net.named_modules() if isinstance(module, NORMS)}
    return tuple(name for name in names if name.rpartition(".")[0] in homes)


def matching_names(
    parameters: Mapping[str, Tensor], patterns: Iterable[str], what: str
) -> tuple[str, ...]:
    """Name the parameters that match shell patterns such as `head.*` or `*.lora_?`, in order.

    Raises:
        InvalidInput: if a pattern matches none.
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in parameters):
            raise unknown("parameter", pattern, parameters, f" for {what}")
    return tuple(
        name for name in parameters if any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def check_one_kind(parameters: Mapping[str, Tensor]) -> None:
    """Refuse parameters that can't share one vector: of two devices, of two dtypes, or of none."""
    if not parameters:
        raise InvalidInput(
            "No parameter adapts: every one has requires_grad=False. Name those that should, "
            'adapt=["head.*"].'
        )
    first, *rest = parameters.items()
    for name, value in rest:
        for word in ("device", "dtype"):
            if getattr(value, word) != getattr(first[1], word):
                raise InvalidInput(
                    f"Parameters are of two {word}s: {first[0]} is {getattr(first[1], word)}, "
                    f"{name} is {getattr(value, word)}. Move the module to one with net.to(...)."
                )


def _refuse_dropout(net: nn.Module) -> None:
    active = [
        name
        for name, module in net.named_modules()
        if module.training and _dropout_share(module) > 0
    ]
    if active:
        raise InvalidInput(
            f"{_listed(net, active)} would draw masks in the inner loop, other ones each time a "
            "step is recomputed, and the meta-gradient would be silently wrong. Call net.eval(), "
            "or set p = 0."
        )


def _dropout_share(module: nn.Module) -> float:
    if isinstance(module, _DropoutNd):
        return module.p
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return module.dropout
    return 0.0


def _listed(net: nn.Module, names: list[str]) -> str:
    return ", ".join(f"{name} ({type(net.get_submodule(name)).__name__})" for name in names)
