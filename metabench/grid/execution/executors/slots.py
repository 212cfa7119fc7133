"""Devices of this machine, and how many cells each runs at a time."""

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
    """Place for one worker: its device, and the environment that binds a process to it."""

    device: str  # cpu or cuda
    environment: Mapping[str, str] = field(default_factory=dict)
    bytes: float = math.inf  # memory of the device, which its slots share

    @property
    def place(self) -> tuple[str, str]:
        """The device, which may have several slots."""
        return self.device, self.environment.get(MASK, "")


def cpu_slots(workers: int, threads: int) -> list[Slot]:
    """Return `workers` CPU slots, or as many as the cores allow if 0."""
    count = workers or max(cores() // threads, 1)
    # A CPU cell sees no GPU, so that it can't take memory there by accident.
    environment = {MASK: "", **dict.fromkeys(THREADS, str(threads))}
    return [Slot("cpu", environment)] * count


def cores() -> int:
    """Return the number of cores that this process may use.

    A Slurm cluster that doesn't confine jobs to their cores only names their number.
    """
    here = len(os.sched_getaffinity(0))
    granted = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(int(granted), here) if granted.isdecimal() and int(granted) else here


def gpu_slots(per_gpu: int, threads: int) -> list[Slot]:
    """Return `per_gpu` slots for each GPU that this process may use."""
    environment = dict.fromkeys(THREADS, str(threads))
    held = memory_of_gpus()
    return [
        Slot("cuda", {MASK: name, **environment}, held.get(name, math.inf))
        for _ in range(per_gpu)
        for name in visible_gpus()
    ]


def visible_gpus() -> list[str]:
    """List the visible GPUs as in CUDA_VISIBLE_DEVICES, by number or UUID."""
    import torch

    count = torch.cuda.device_count()
    mask = os.environ.get(MASK)
    names = [str(i) for i in range(count)] if mask is None else mask.split(",")
    return names[:count]


def memory_of_gpus() -> dict[str, float]:
    """Return the bytes of each GPU, by number and UUID; empty if nvidia-smi can't be run.

    torch isn't used, since it would allocate memory on every GPU.
    """
    command = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    found = {}
    for line in listing.stdout.splitlines():
        number, uuid, mebibytes = (part.strip() for part in line.split(","))
        if mebibytes.isdigit():
            found[number] = found[uuid] = float(mebibytes) * 2**20
    return found
