"""Where does the time of `metabench variance` go: torch's kernels, or everything around them?

    python benchmarks/where.py --tasks 4096

A kernel is an aten operation that calls no other but for its memory; what functorch, Python,
sampling and statistics take is the rest. The share is of the time under the profiler, which adds to
every operation and most to small ones, so the true share is larger.
"""

from __future__ import annotations

import argparse
import collections
import os
import time

import torch
from torch.profiler import ProfilerActivity, profile

from metabench.command import build

# What a kernel may call for its results and arguments without being anything but a kernel.
PLUMBING = {
    "aten::empty",
    "aten::empty_strided",
    "aten::as_strided",
    "aten::resize_",
    "aten::fill_",
}
PLUMBING |= {"aten::resolve_conj", "aten::empty_like", "aten::zero_", "aten::expand", "aten::to"}

CHOICES = {
    "algo": "maml",
    "family": "sinusoid",
    "problem": None,
    "theta": "",
    "seed": 0,
    "device": "cpu",
    "dtype": "float32",
}


def main() -> None:
    """Measure once under torch's profiler and print the largest kernels and their share."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cell = build("variance", tasks=options.tasks, assignments=options.assignments, **CHOICES)
    if hasattr(cell, "settled"):  # commits before the engine have no choice to make
        cell = cell.settled()
    cell.measure()  # what is imported and allocated once
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        begun = time.perf_counter()
        cell.measure()
        total = time.perf_counter() - begun
    kernels = collections.Counter()
    for event in seen.events():
        called = {child.name for child in event.cpu_children}
        if event.name.startswith("aten::") and event.name not in PLUMBING and called <= PLUMBING:
            kernels[event.name] += event.time_range.elapsed_us() / 1e6
    inside = sum(kernels.values())
    print(f"tasks {options.tasks}, threads {options.threads}, load {os.getloadavg()[0]:.1f}")
    print(f"seconds {total:.2f}, in kernels {inside:.2f}: {inside / total:.0%}")
    for name, seconds in kernels.most_common(10):
        print(f"  {name:<34} {seconds:7.2f} s  {seconds / total:5.1%}")


if __name__ == "__main__":
    main()
