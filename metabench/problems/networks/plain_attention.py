"""Attention by plain operations, which have derivatives of any order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.backends import cuda, mha
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def plain_attention() -> Generator[None]:
    """Run torch's attention by matrix products and a softmax, here and in all calls from here.

    Its fused kernels have no second derivative. The kernel is chosen when attention is called, so
    derivatives taken later, outside, are right as well.
    """
    if _is_plain():  # what follows takes as long as ten small operations
        yield
        return
    fused_layers = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fused_layers)


def calls_attention(call: Callable[[], Any]) -> bool:
    """Return whether a call reaches torch's attention, anywhere below."""
    watch = _Attention()
    with watch:
        call()
    return watch.called


class _Attention(TorchFunctionMode):
    called = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.called = self.called or func is functional.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def _is_plain() -> bool:
    return MATH() and not any(enabled() for enabled in FUSED)


MATH: Callable[[], bool] = cuda.math_sdp_enabled
FUSED: tuple[Callable[[], bool], ...] = (
    cuda.flash_sdp_enabled,
    cuda.mem_efficient_sdp_enabled,
    cuda.cudnn_sdp_enabled,
    mha.get_fastpath_enabled,
)
