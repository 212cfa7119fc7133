"""Is a transform of torch.func under way, which autograd can't see through?"""

from __future__ import annotations

from typing import Any

from torch.autograd import Function


class _Plain(Function):
    """A function that says nothing of transforms, which torch.func therefore refuses to apply."""

    @staticmethod
    def forward(ctx: Any) -> None:
        """Do nothing."""


def inside_func_transform() -> bool:
    """Say whether this is called inside a vmap, a grad or another transform of torch.func.

    torch has no public name for the question, but a documented answer: a custom function without
    `setup_context` raises there
    (https://docs.pytorch.org/docs/stable/notes/extending.func.html).
    """
    try:
        _Plain.apply()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return True
    return False
