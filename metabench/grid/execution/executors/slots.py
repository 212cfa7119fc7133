"""Which devices are at hand, and how many cells each of them takes."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

MASK = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Slot:
    """Room for one worker: its kind of device, and the environment that ties it there."""

    device: str  # cpu or cuda
    environment: Mapping[str, str] = field(default_factory=dict)
    bytes: float = math.inf  # memory of the device, which its slots share

    @property
    def place(self) -> tuple[str, str]:
        """Name the device that the slot shares with others."""
        return self.device, self.environment.get(MASK, "")


def cpu_slots(workers: int, threads: int) -> list[Slot]:
    """Give room on the processor: `workers` of them, or as many as the cores hold if 0."""
    count = workers or max(len(os.sched_getaffinity(0)) // threads, 1)
    # A CPU cell sees no GPU, so that it can't take memory there by accident.
    environment = {MASK: "", **dict.fromkeys(THREADS, str(threads))}
    return [Slot("cpu", environment)] * count


def gpu_slots(per_gpu: int, threads: int) -> list[Slot]:
    """Give room on every GPU that this process may use, `per_gpu` workers each."""
    environment = dict.fromkeys(THREADS, str(threads))
    held = memory_of_gpus()
    return [
        Slot("cuda", {MASK: name, **environment}, held.get(name, math.inf))
        for _ in range(per_gpu)
        for name in visible_gpus()
    ]


def visible_gpus() -> list[str]:
    """Name the GPUs by the entries of the mask, which may be numbers or UUIDs."""
    import torch

    count = torch.cuda.device_count()
    mask = os.environ.get(MASK)
    names = [str(i) for i in range(count)] if mask is None else mask.split(",")
    return names[:count]


def memory_of_gpus() -> dict[str, float]:
    """Map each GPU, by number and by UUID, to its bytes; nothing where the driver doesn't say.

    The driver's own tool is asked, since torch would take memory on every GPU to answer.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in said.stdout.splitlines():
        number, uuid, mebibytes = (part.strip() for part in line.split(","))
        if mebibytes.isdigit():
            found[number] = found[uuid] = float(mebibytes) * 2**20
    return found
