"""When do tracing and compiling pay? Their set-up, against what they save each time.

    python benchmarks/engines.py --steps 5 --tasks 25

Run it twice for the set-up with cold and with warm caches: inductor keeps its own between
processes, in TORCHINDUCTOR_CACHE_DIR; this script says which it found.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import contenders
import torch
from problems import PROBLEMS

import metabench as mb


def main() -> None:
    """Time the first application of each engine and later ones in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="sinusoid")
    parser.add_argument("--steps", type=int, default=5, help="K")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cache = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    print("caches:", "warm" if cache and any(Path(cache).glob("*")) else "cold or torch's own")
    case, maml = PROBLEMS[options.problem](options.tasks), mb.MAML(options.steps, trail="keep")
    chosen, setup = {}, {}
    for engine in ("eager", "trace", "compile"):
        run = contenders.metabench(case, maml, mb.Lift("vmap", options.tasks, engine))
        setup[engine] = _seconds(run)
        chosen[engine] = run
    seconds = {engine: [] for engine in chosen}
    for _ in range(options.rounds):
        for engine, run in chosen.items():
            seconds[engine].append(_seconds(run))
    each = {engine: statistics.median(own) for engine, own in seconds.items()}
    print(f"load {os.getloadavg()[0]:.1f}; set-up and each later application, in seconds")
    for engine in chosen:
        saved = each["eager"] - each[engine]
        pays = f"pays after {setup[engine] / saved:.0f}" if engine != "eager" else ""
        print(f"  {engine:<8} {setup[engine]:8.2f} {each[engine]:9.5f}  {pays}")


def _seconds(run: contenders.Contender) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
