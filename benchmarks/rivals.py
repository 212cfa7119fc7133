"""Comparison of metabench and other libraries on one MAML meta-gradient.

    python benchmarks/rivals.py --problem sinusoid --steps 5 --tasks 25 --threads 1

Every contender computes the mean meta-gradient of the same tasks at the same theta. They take turns
in one process, so that a busy machine slows them alike; what is quoted is the median of the ratios
within each round. None is timed that doesn't agree with the plain loop to 1e-4.

A network with kinks (ReLU, max pooling) may fall on either side of one by the last bit of float32,
and then a task's gradient jumps, in any library. So where the means differ by more, the tasks are
looked at one by one: their median must agree, and no more of them may jump than the plain loop's
own do, within chance, when theta moves by a last bit.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import contenders
import torch
from problems import PROBLEMS, Case
from scipy.stats import binomtest

import metabench as mb

Run = Callable[[], torch.Tensor]
AGREEMENT = 1e-4  # relative, in float32
EPS = 2.0**-24  # half a last bit of float32, relative
MOVES = 6  # of theta, for each task
LEVEL = 0.01  # of the test that more tasks jump than do by rounding alone
CLOCKS = {"wall": time.perf_counter, "process": time.process_time}
SIDE = 1024  # of the square matrices whose product's rate is the machine's


def main() -> None:
    """Check agreement, take turns, print a table and, if asked, write the record."""
    options = _options()
    torch.set_num_threads(options.threads)
    if options.pin:
        os.sched_setaffinity(0, range(options.threads))
    case = PROBLEMS[options.problem](options.tasks)
    chosen = contenders.of(case, options.steps, options.engines)
    agreement = check(case, options, chosen)
    before = os.getloadavg()[0]
    flops = {name: mb.work_of(run).flops for name, run in chosen.items() if "compile" not in name}
    matrix = torch.randn(SIDE, SIDE)
    product = "matrix product"
    turns = {**chosen, product: lambda: matrix @ matrix}
    seconds = take_turns(turns, options.rounds, CLOCKS[options.clock])
    rate = 2 * SIDE**3 / statistics.median(seconds.pop(product))
    record = {
        "command": "python benchmarks/rivals.py " + " ".join(sys.argv[1:]),
        "threads": options.threads,
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "rounds": options.rounds,
        "matrix product Gflop/s": round(rate / 1e9, 1),
        "rows": summary(case, seconds, agreement, options),
    }
    for row in record["rows"]:
        # a compiled function does the traced one's arithmetic, out of torch's sight
        work = flops.get(row["contender"], flops["loop"])
        row["share of the matrix rate"] = work / row["median ms"] / rate * 1e3
    _print(record)
    if options.json:
        with pathlib.Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


def check(case: Case, options: argparse.Namespace, chosen: dict[str, Run]) -> dict[str, float]:
    """Return each contender's relative distance from the plain loop; stop if one is too large."""
    reference = chosen["loop"]()
    gaps = {name: _distance(run(), reference) for name, run in chosen.items()}
    for name in [name for name, gap in gaps.items() if not gap < AGREEMENT]:
        apart = [_distance(one[name](), one["loop"]()) for one in _each(case, options)]
        jumps = sum(not gap < AGREEMENT for gap in apart)
        own = _own_jumps(case, options)
        gaps[name] = statistics.median(apart)
        agreement = (
            f"{jumps} of {len(apart)} tasks jump, of the plain loop's own {sum(own)} of {len(own)}"
        )
        print(f"{name}: {agreement}; the median task differs by {gaps[name]:.0e}", file=sys.stderr)
        chance = binomtest(jumps, len(apart), (1 + sum(own)) / (2 + len(own)), "greater").pvalue
        if not gaps[name] < AGREEMENT or chance < LEVEL:
            sys.exit(f"{name} disagrees with the plain loop by more than {AGREEMENT}.")
    return gaps


def _each(case: Case, options: argparse.Namespace) -> Iterator[dict[str, Run]]:
    """Yield the contenders of each task alone."""
    for i in range(options.tasks):
        yield contenders.of(case.alone(i), options.steps, options.engines)


def _own_jumps(case: Case, options: argparse.Namespace) -> list[bool]:
    """Return for each task and last-bit change of theta whether the plain loop's gradient jumps."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for i in range(options.tasks):
        alone = case.alone(i)
        reference = contenders.plain_loop(alone, options.steps)()
        for _ in range(MOVES):
            last_bit = EPS * torch.randn(case.theta.shape, generator=generator)
            moved = alone._replace(theta=case.theta * (1 + last_bit))
            gap = _distance(contenders.plain_loop(moved, options.steps)(), reference)
            found.append(not gap < AGREEMENT)
    return found


def _distance(given: torch.Tensor, reference: torch.Tensor) -> float:
    given, reference = given.double(), reference.double()
    return float((given - reference).norm() / reference.norm())


def take_turns(
    chosen: dict[str, Run],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time every contender once a round."""
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name, run in chosen.items():
            begun = clock()
            run()
            seconds[name].append(clock() - begun)
    return seconds


def summary(
    case: Case, seconds: dict[str, list[float]], gaps: dict[str, float], options: argparse.Namespace
) -> list[dict[str, object]]:
    """Return each contender's times, and how many times faster than the fastest library it is."""
    libraries = [name for name in seconds if name in contenders.LIBRARIES]
    fastest = min(libraries, key=lambda name: statistics.median(seconds[name]))
    rows = []
    for name, own in seconds.items():
        ratios = [theirs / mine for theirs, mine in zip(seconds[fastest], own, strict=True)]
        rows.append(
            {
                "problem": case.name,
                "steps": options.steps,
                "tasks": options.tasks,
                "contender": name,
                "fastest library": fastest,
                "median ms": 1e3 * statistics.median(own),
                "least ms": 1e3 * min(own),
                "faster than the fastest library": statistics.median(ratios),
                "the same, of least times": min(seconds[fastest]) / min(own),
                "gap": gaps[name],
            }
        )
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="sinusoid")
    parser.add_argument("--steps", type=int, default=5, help="K")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--engines", nargs="+", default=["eager", "trace", "compile"])
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="process: on a busy machine"
    )
    parser.add_argument("--no-pin", dest="pin", action="store_false", help="leave cores to the OS")
    parser.add_argument("--json", metavar="FILE", help="write the record here")
    return parser.parse_args()


def _print(record: dict) -> None:
    rows = record.pop("rows")
    print(json.dumps(record))
    words = f"{'median ms':>10} {'least ms':>10} {'x':>8} {'(least)':>8} gap   rate"
    print(f"{'contender':<44} {words}")
    for row in rows:
        print(
            f"{row['contender']:<44} {row['median ms']:>10.2f} {row['least ms']:>10.2f} "
            f"{row['faster than the fastest library']:>8.2f} "
            f"{row['the same, of least times']:>8.2f} "
            f"{row['gap']:.0e} {row['share of the matrix rate']:.0%}"
        )
    print(f"fastest library: {rows[0]['fastest library']}")
    record["rows"] = rows


if __name__ == "__main__":
    main()
