"""Time until a command's first line and until it measures, in fresh processes, warm disk cache.

    python benchmarks/startup.py

Wall time depends on what else runs; the processor time of the same stretch stands beside it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

COMMAND = [sys.executable, "-m", "metabench", "variance", "--algo", "maml"]


def main() -> None:
    """Start a few processes after one that warms the disk, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    started()
    spoken, wall, processor = map(
        statistics.median, zip(*(started() for _ in range(options.rounds)), strict=True)
    )
    print(f"load {os.getloadavg()[0]:.1f}, {options.rounds} rounds, medians")
    print(f"first line after {spoken:.2f} s")
    print(f"measuring after {wall:.2f} s, of processor time {processor:.2f} s")


def started() -> tuple[float, float, float]:
    """Return the wall time until the first line, and both times until the second, which follows."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(
            COMMAND, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as child:
            assert child.stderr is not None
            child.stderr.readline()
            spoken = time.perf_counter() - begun
            child.stderr.readline()  # what adapts and what is learned
            seconds = time.perf_counter() - begun
            child.kill()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spoken, seconds, used


if __name__ == "__main__":
    main()
