"""What contracts expect: each says in a sentence what was found, and what was expected."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from metabench.problems.tasks import tree_map

TASKS = 3  # that a contract draws
SIZE = 6  # of a solver's matrix, and of an inner optimizer's vector
# Settings that count something, of whichever member has them.
COUNTS = ("steps", "batch", "tasks", "ways", "shots", "queries", "rank", "rate")


def expect(holds: bool, sentence: str) -> None:
    """Raise AssertionError with the sentence where something doesn't hold."""
    if not holds:
        raise AssertionError(sentence)


def expect_same(one: object, other: object, relative: float, sentence: str) -> None:
    """Expect two pytrees of tensors to agree, relative to the largest number of each leaf.

    Args:
        one: a pytree of tensors.
        other: a pytree of the same structure.
        relative: tolerance; 0 expects the same bits.
        sentence: what is wrong if they differ.
    """

    def check(a: Tensor, b: Tensor) -> Tensor:
        gap = float((a - b)[a != b].abs().max()) if (a != b).any() else 0.0  # inf equals inf
        scale = float(a.abs().max()) if a.numel() else 0.0
        # a residual at round-off is round-off itself, and isn't compared by its own size
        within = relative * max(scale, 1e-3)
        expect(gap <= within, f"{sentence}: by up to {gap:.2g}, with values up to {scale:.2g}")
        return a

    tree_map(check, one, other)


def equal(one: object, other: object) -> bool:
    """Whether two pytrees of tensors hold the same bits."""
    same: list[bool] = []
    tree_map(lambda a, b: same.append(torch.equal(a, b)), one, other)
    return all(same)


def expect_refused(member: object) -> None:
    """Expect counts and rates below zero to be refused, where settings are fields."""
    if not dataclasses.is_dataclass(member) or isinstance(member, type):
        return
    held = {field.name for field in dataclasses.fields(member) if field.init}
    for name in COUNTS:
        if name not in held or not isinstance(getattr(member, name), int | float):
            continue
        try:
            dataclasses.replace(member, **{name: -1})
        except ValueError:  # InvalidInput is one
            continue
        raise AssertionError(
            f"{name} = -1 is accepted; raise metabench.InvalidInput, and say what to give instead"
        )
