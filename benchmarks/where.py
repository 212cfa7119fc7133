"""Shares of compiled code and the interpreter in the time of `metabench variance`.

    python benchmarks/where.py --tasks 4096

Linux's `perf` samples which library the processor is in, which costs the run nothing and sees every
library: torch's kernels with their dispatch, numpy's, the C library's copies, the system's clearing
of new pages; what is left is Python. Where there is no `perf`, and with --kernels, torch's profiler
says what its kernels alone took: an aten operation that calls no other but for its memory. It adds
to every operation, most to small ones, so that the true share is larger.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from metabench.measurement.from_words import build
from metabench.measurement.measurement import Measurement

# What a kernel may call for its results and arguments without being anything but a kernel.
PLUMBING = {f"aten::{name}" for name in ("empty", "empty_strided", "as_strided", "resize_")}
PLUMBING |= {f"aten::{name}" for name in ("fill_", "zero_", "empty_like", "expand", "to")}
PLUMBING |= {"aten::resolve_conj"}
PYTHON = re.compile(r"python")  # the interpreter, and torch's binding to it
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
    """Measure once to warm up, then under `perf` or torch's profiler."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=4096)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", action="store_true", help="torch's profiler, not perf")
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cell = build("variance", tasks=options.tasks, assignments=options.assignments, **CHOICES)
    if hasattr(cell, "resolved"):  # commits before the engine have no choice to make
        cell = cell.resolved()
    cell.measure()  # what is imported and allocated once
    print(f"tasks {options.tasks}, threads {options.threads}, load {os.getloadavg()[0]:.1f}")
    if options.kernels or not shutil.which("perf"):
        by_kernel(cell)
    else:
        by_library(cell)


def by_library(cell: Measurement) -> None:
    """Print the share of processor time in each library, and outside the interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        words = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "500", "-p", str(os.getpid())]
        sampling = subprocess.Popen([*words, "-o", data], stderr=subprocess.DEVNULL)
        time.sleep(1)  # until it has attached; a sleeping process isn't sampled
        begun = time.process_time()
        cell.measure()
        total = time.process_time() - begun
        sampling.send_signal(signal.SIGINT)
        sampling.wait()
        listing = subprocess.check_output(
            ["perf", "report", "-i", data, "--sort", "dso", "--stdio"],
            text=True,
            stderr=subprocess.DEVNULL,
        )
    shares = {
        name: float(x) for x, name in re.findall(r"^ *([\d.]+)% +(\S+)", listing, re.MULTILINE)
    }
    inside = sum(share for name, share in shares.items() if not PYTHON.search(_stem(name)))
    print(f"{total:.2f} s of processor time, outside the interpreter {inside:.0f}%")
    for name, share in list(shares.items())[:8]:
        print(f"  {name:<52} {share:5.1f}%")


def by_kernel(cell: Measurement) -> None:
    """Print the largest of torch's kernels and their share of the time under its profiler."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        begun = time.perf_counter()
        cell.measure()
        total = time.perf_counter() - begun
    kernels: collections.Counter[str] = collections.Counter()
    for event in seen.events():
        called = {child.name for child in event.cpu_children}
        if event.name.startswith("aten::") and event.name not in PLUMBING and called <= PLUMBING:
            kernels[event.name] += event.time_range.elapsed_us() / 1e6
    inside = sum(kernels.values())
    print(f"{total:.2f} s, in torch's kernels {inside / total:.0%}")
    for name, seconds in kernels.most_common(10):
        print(f"  {name:<34} {seconds:7.2f} s  {seconds / total:5.1%}")


def _stem(library: str) -> str:
    """Drop the tag of the Python version from an extension's name."""
    return library.partition(".cpython")[0]


if __name__ == "__main__":
    main()
