"""Seconds of a call, including the work it queued on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    """Wait until a device is idle; a CPU is when a call returns."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)


def seconds_of(
    call: Callable[[], object],
    device: torch.device,
    *,
    wait: Callable[[torch.device], None] = synchronize,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure the seconds of one call, from an idle device to an idle device.

    GPU kernels may run after the call that queued them has returned. Waiting for the device before
    both clock readings counts all work of the call and none of earlier calls.

    >>> seconds_of(lambda: sum(range(100)), torch.device("cpu")) > 0
    True

    Args:
        call: the function to time; its result is dropped.
        device: the device it runs on.
        wait: waits until the device is idle.
        clock: reads the time [seconds].
    """
    wait(device)
    begun = clock()
    call()
    wait(device)
    return clock() - begun
