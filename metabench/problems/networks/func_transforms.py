"""Detection of torch.func transforms."""

from __future__ import annotations

from typing import Any

from torch.autograd import Function


class _Plain(Function):
    """A function without `setup_context`, which torch.func refuses to transform."""

    @staticmethod
    def forward(ctx: Any) -> None:
        """Do nothing."""


def inside_func_transform() -> bool:
    """Return whether this is called inside a vmap, a grad or another transform of torch.func.

    torch has no public function for this, but documents that a custom function without
    `setup_context` raises inside a transform
    (https://docs.pytorch.org/docs/stable/notes/extending.func.html).
    """
    try:
        _Plain.apply()  # type: ignore[no-untyped-call]
    except RuntimeError:
        return True
    return False
