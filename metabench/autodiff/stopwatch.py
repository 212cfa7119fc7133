"""How many seconds does a call take, the work that it leaves to a GPU included?"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was given; a CPU has when a call returns."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)


def seconds_of(
    call: Callable[[], object],
    device: torch.device,
    *,
    wait: Callable[[torch.device], None] = synchronize,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time one call on a device, from idle to idle.

    A GPU's kernels run after the call that started them has returned. So the device is waited for
    before both readings: neither work of before is counted, nor work of the call left out.

    >>> seconds_of(lambda: sum(range(100)), torch.device("cpu")) > 0
    True

    Args:
        call: what is timed; what it gives is dropped.
        device: where its work is done.
        wait: returns once the device is idle.
        clock: reads the time [seconds].
    """
    wait(device)
    begun = clock()
    call()
    wait(device)
    return clock() - begun
