"""Which devices are at hand, and how many cells each of them takes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

MASK = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """Room for one worker: its kind of device, and the environment that ties it there."""

    device: str  # cpu or cuda
    environment: Mapping[str, str] = field(default_factory=dict)


def cpu_slots(workers: int, threads: int) -> list[Slot]:
    """Give room on the processor: `workers` of them, or as many as the cores hold if 0."""
    count = workers or max(len(os.sched_getaffinity(0)) // threads, 1)
    # A CPU cell sees no GPU, so that it can't take memory there by accident.
    environment = {MASK: "", **dict.fromkeys(THREADS, str(threads))}
    return [Slot("cpu", environment)] * count


def gpu_slots(per_gpu: int, threads: int) -> list[Slot]:
    """Give room on every GPU that this process may use, `per_gpu` workers each."""
    environment = dict.fromkeys(THREADS, str(threads))
    return [
        Slot("cuda", {MASK: name, **environment}) for _ in range(per_gpu) for name in visible_gpus()
    ]


def visible_gpus() -> list[str]:
    """Name the GPUs by the entries of the mask, which may be numbers or UUIDs."""
    import torch

    count = torch.cuda.device_count()
    mask = os.environ.get(MASK)
    names = [str(i) for i in range(count)] if mask is None else mask.split(",")
    return names[:count]
