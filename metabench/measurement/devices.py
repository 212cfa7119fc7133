"""Devices: their type, and whether this machine has them."""

from __future__ import annotations

import torch

from metabench.settings.errors import InvalidInput


def device_type(device: str) -> str:
    """Return `cpu` or `cuda`, whether or not this machine has it.

    Raises:
        InvalidInput: if it is neither.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise InvalidInput(f"There is no device {device!r}; give cpu, cuda or cuda:N.") from None
    if kind not in ("cpu", "cuda"):
        raise _absent(device)
    return kind


def require_device(device: str) -> None:
    """Check that this machine has the device.

    Raises:
        InvalidInput: if it has not; names what torch sees.
    """
    found = torch.cuda.device_count() if device_type(device) == "cuda" else 1
    if (torch.device(device).index or 0) >= found:
        raise _absent(device)


def _absent(device: str) -> InvalidInput:
    return InvalidInput(
        f"Device {device!r} not found: torch {torch.__version__} sees "
        f"{torch.cuda.device_count()} CUDA devices here. Use --device cpu."
    )
