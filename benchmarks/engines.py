"""Break-evens of tracing and compiling: time of set-up over time saved per call.

    python benchmarks/engines.py --steps 5 --tasks 25
    python benchmarks/engines.py --problem conv4 --how loop --tasks 1

Two fresh processes share one new folder of inductor's caches: what the first takes to set up is
cold, what the second takes is warm. One application is one call: all tasks for vmap, one for loop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import contenders
import torch
from problems import PROBLEMS

import metabench as mb

ENGINES = ("eager", "trace", "compile")


def main() -> None:
    """Set up every engine in two processes, one after the other, and print the times."""
    options = _options()
    if options.child:
        print(json.dumps(measured(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": folder}
        command = [sys.executable, *sys.argv, "--child"]
        cold, warm = (
            json.loads(subprocess.check_output(command, env=environment, text=True))
            for _ in range(2)
        )
    print(f"load {os.getloadavg()[0]:.1f}; seconds, and after how many applications it has paid")
    print("  engine    cold set-up  warm set-up    each time  pays cold  pays warm")
    for engine in options.engines:
        saved = warm["each"]["eager"] - warm["each"][engine]
        pays = [f"{run['setup'][engine] / saved:10.0f}" if saved > 0 else f"{'never':>10}"
                for run in (cold, warm)] if engine != "eager" else []  # fmt: skip
        print(
            f"  {engine:<8} {cold['setup'][engine]:12.2f} {warm['setup'][engine]:12.2f} "
            f"{warm['each'][engine]:12.5f} {' '.join(pays)}"
        )


def measured(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Time the first application by each engine, and later ones in turns."""
    torch.set_num_threads(1)
    case, maml = (
        PROBLEMS[options.problem](options.tasks),
        mb.MAML(options.steps, rematerialize="none"),
    )
    chosen, setup = {}, {}
    for engine in options.engines:
        run = contenders.metabench(case, maml, mb.Vectorization(options.how, options.tasks, engine))
        setup[engine] = _seconds(run)
        chosen[engine] = run
    seconds: dict[str, list[float]] = {engine: [] for engine in chosen}
    for _ in range(options.rounds):
        for engine, run in chosen.items():
            seconds[engine].append(_seconds(run))
    each = {engine: statistics.median(own) for engine, own in seconds.items()}
    return {"setup": setup, "each": each}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="sinusoid")
    parser.add_argument("--how", choices=("vmap", "loop"), default="vmap")
    parser.add_argument("--steps", type=int, default=5, help="K")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--child", action="store_true", help="one of the two processes")
    return parser.parse_args()


def _seconds(run: contenders.Contender) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
