"""What makes a module's output depend on more than its parameters and its input, switched off."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm

from metabench.problems.networks.weight_norms import with_plain_weight_norms

START_ITERATIONS = 15  # what torch's newer spectral norm takes when it is made


def make_a_function(net: nn.Module) -> tuple[str, ...]:
    """Change a copy of a module into a function of its parameters, and return notes on changes.

    Spectral norms keep the singular vectors they have, weight norms are computed by plain
    operations, checkpointed blocks keep what they compute, and embeddings give dense gradients.
    """
    for module in net.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False  # the same gradient, which can be part of a vector
    return (
        *with_plain_weight_norms(net),
        *_fix_spectral_norms(net),
        *_keep_intermediate_results(net),
    )


def _fix_spectral_norms(net: nn.Module) -> Iterator[str]:
    """Stop the power iteration that each forward of a spectral norm takes in training mode."""
    iterating = []
    for name, module in net.named_modules():
        hooks = [h for h in module._forward_pre_hooks.values() if isinstance(h, SpectralNorm)]
        if module.training and (hooks or isinstance(module, parametrizations._SpectralNorm)):
            for hook in hooks:
                _converge(hook, module)
            module.training = False
            iterating.append(f"`{name.partition('.parametrizations')[0] or type(module).__name__}`")
    if iterating:
        yield (
            f"{', '.join(iterating)}: spectral norm keeps its singular vectors in the inner loop, "
            "as after .eval(); each forward of training would change them."
        )


def _converge(hook: SpectralNorm, module: nn.Module) -> None:
    """Iterate singular vectors that may be the random ones of the start."""
    with torch.no_grad():
        for _ in range(START_ITERATIONS):
            hook(module, None)


def _keep_intermediate_results(net: nn.Module) -> Iterator[str]:
    """Switch off the gradient checkpointing of transformers models."""
    blocks = [x for x in net.modules() if getattr(x, "gradient_checkpointing", False) is True]
    for block in blocks:
        block.gradient_checkpointing = False  # type: ignore[assignment]
    if blocks:
        yield (
            "Gradient checkpointing is off in the inner loop, where it would compute with the "
            "module's own parameters. To save memory, let metabench recompute whole inner steps: "
            "--set algo.rematerialize=every_step."
        )
