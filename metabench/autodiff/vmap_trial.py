"""Whether tasks can be computed together by vmap, found by trying."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from metabench.settings.errors import InvalidInput

# Of an operation that vmap runs task by task. Where torch warns of one, another kernel may fail.
NO_RULE = "There is a performance drop"
REASONS = (  # what torch says, and what is meant
    ("data-dependent control flow", "it uses an `if` on a tensor or .item()"),
    (
        "saved tensor hooks",
        "gradient checkpointing, or another hook on saved tensors, is used",
    ),
    ("requires_grad_()", "torch.autograd.grad is used in forward or in the loss"),
    ("does not require grad", "torch.autograd.grad is used in forward or in the loss"),
    ("dynamic shape", "a shape depends on numbers, as that of x[x < 0] does"),
    ("setup_context", "a torch.autograd.Function has no setup_context"),
    ("generate_vmap_rule", "a torch.autograd.Function has no rule for vmap"),
    ("random operation", "it draws random numbers"),
    ("running_mean", "batch norm updates its running statistics"),
    ("in-place operation", "a buffer is changed in place"),
    ("broadcast shape", "torch has no rule for an operation in it, such as those of RNNs"),
)


def vmap_failure(call: Callable[[], Any]) -> Exception | None:
    """Return what a vmapped call raises; None if it runs, with a rule for every operation.

    Args:
        call: the vmapped function with its arguments.

    Raises:
        InvalidInput: if the call raises that, or runs out of memory.
        MemoryError: the same.
        OutOfMemoryError: the same.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=NO_RULE, category=UserWarning)
            call()
    except (InvalidInput, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        return error
    return None


def falling_back(vectorized: Callable[..., Any], looped: Callable[..., Any]) -> Callable[..., Any]:
    """Return the vectorized function, or the looped one if the first call of that fails.

    Args:
        vectorized: the function by vmap.
        looped: the same, one task after another.
    """
    chosen: list[Callable[..., Any]] = []

    def apply(*args: Any) -> Any:
        if chosen:
            return chosen[0](*args)
        found: list[Any] = []
        failed = vmap_failure(lambda: found.append(vectorized(*args)))
        chosen.append(looped if failed else vectorized)
        return looped(*args) if failed else found[0]

    return apply


def is_slow(error: Exception) -> bool:
    """Return whether vmap runs after all, task by task within one of its operations."""
    return NO_RULE in str(error)


def reason(error: Exception) -> str:
    """Return in words why vmap failed."""
    text = str(error)
    known = [words for part, words in REASONS if part in text]
    if known:
        return known[0]
    if NO_RULE in text:
        operation = text.partition("batching rule for ")[2].partition(".")[0]
        return f"torch has no rule for {operation.removeprefix('aten::')}"
    first = (text.strip().splitlines() or [""])[0].rstrip(". ")
    return f"{type(error).__name__}: {first}"
