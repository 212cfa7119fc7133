"""Processor time of the commands on the default problem, beside torch's import and another commit.

    python benchmarks/commands.py --rounds 3 [--against ../other/checkout] [variance spectrum ...]

Each round runs `import torch, torch._dynamo` and then the command of both checkouts; ratios are
medians of ratios within a round, as other work on the machine disturbs neighbors alike. The time of
the whole process counts, its end included.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = ("variance", "verify", "spectrum", "explosion", "constants", "cost", "agreement")
IMPORTS = ["-c", "import torch, torch._dynamo"]


def main() -> None:
    """Run the commands in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", default=COMMANDS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout of metabench")
    options = parser.parse_args()
    here = Path(__file__).parent.parent.resolve()
    homes = [here] + [options.against.resolve()] * bool(options.against)
    print("| command | seconds | times the imports | of the other checkout |\n|---|---|---|---|")
    for command in options.commands:
        rounds = [taken(command, homes) for _ in range(options.rounds)]
        print(line(command, rounds), flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}, {options.rounds} rounds")


def taken(command: str, homes: list[Path]) -> list[float]:
    """Return the processor seconds of the imports, and of a command in each checkout."""
    words = ["-m", "metabench", command, "--algo", "maml", "--quiet"]
    return [spent(homes[0], IMPORTS), *(spent(home, words) for home in homes)]


def line(command: str, rounds: list[list[float]]) -> str:
    """Return a line of the table."""
    imports, here, *there = zip(*rounds, strict=True)
    cells = [command, f"{statistics.median(here):.1f}", ratio(here, imports)]
    return " | ".join(["", *cells, *(ratio(here, each) for each in there), ""]).strip()


def ratio(above: tuple[float, ...], below: tuple[float, ...]) -> str:
    """Return the median of paired ratios, with the least and the most."""
    found = [a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def spent(home: Path, words: list[str]) -> float:
    """Return the processor seconds of a Python process, in an empty folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(home)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            check=False,  # findings may ask for an exit code
        )
    assert done.returncode in (0, 1), words
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
