"""Time until the first progress of a command, in fresh processes with a warm disk cache.

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
    wall, processor = zip(*(started() for _ in range(options.rounds)), strict=True)
    print(f"load {os.getloadavg()[0]:.1f}, {options.rounds} rounds, medians until first progress")
    print(
        f"{statistics.median(wall):.2f} s, of processor time {statistics.median(processor):.2f} s"
    )


def started() -> tuple[float, float]:
    """Return the wall and processor time until the command's first progress, and end it."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(
            COMMAND, cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as child:
            assert child.stderr is not None
            child.stderr.read(1)
            seconds = time.perf_counter() - begun
            child.kill()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, used


if __name__ == "__main__":
    main()
