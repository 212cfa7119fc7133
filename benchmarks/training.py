"""Whole training steps, task sampling included: metabench and the libraries people use today.

    python benchmarks/training.py --steps 1 --tasks 25 --rounds 10

MAML on the paper's sinusoid with Adam outside, one thread. A round is a few steps of each
contender, which take turns in one process; what is quoted is the median of the ratios within each
round. The rivals draw each batch by one vectorised call of NumPy's generator and compute the same
torch.optim.Adam step. The second table holds a step of metabench's against the mean meta-gradient
alone.
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
from collections.abc import Callable
from types import SimpleNamespace

import contenders
import numpy as np
import torch
from problems import PROBLEMS

import metabench as mb
from metabench.outer.trainer import Trainer, means_of

PER_ROUND = {"rival": 3, "ours": 60}  # steps of a round: about as long for either


def main() -> None:
    """Check that a step is the same step, take turns, print the tables."""
    options = _options()
    torch.set_num_threads(1)
    engines = {engine: _ours(options, engine) for engine in options.engines}
    rivals = {}
    for name, maker in (("higher", contenders.higher), ("torchopt", contenders.torchopt)):
        try:
            rivals[name] = _rival(options, maker)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    before = os.getloadavg()[0]
    record = {
        "command": "python benchmarks/training.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "versus rivals": _versus(rivals, engines, options.rounds),
        "step over meta-gradient": _overhead(options),
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
    }
    print(json.dumps(record, indent=1))
    if options.json:
        with pathlib.Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


def _trainer(options: argparse.Namespace, engine: str) -> Trainer:
    family = mb.Sinusoid()
    subject = mb.Subject(
        family.problem(), family.sample, mb.MAML(options.steps), family.theta(0).float(),
        mb.Lift(engine=engine),
    )  # fmt: skip
    return Trainer(subject, mb.Outer(batch=options.tasks), steps=10**6)


def _ours(options: argparse.Namespace, engine: str) -> Callable[[], object]:
    trainer = _trainer(options, engine)
    for _ in range(5):
        trainer.advance()  # traced or compiled, and drawn ahead
    return trainer.advance


def _rival(options: argparse.Namespace, maker: Callable) -> Callable[[], object]:
    """The same loop around a rival's meta-gradient: numpy draws, Adam on the module."""
    case = SimpleNamespace(**PROBLEMS["sinusoid"](options.tasks)._asdict())
    rng = np.random.default_rng(0)
    gradient = maker(case, options.steps)
    theta = case.theta.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], 0.001)

    def draw() -> mb.Task:
        amplitude, phase = (
            rng.uniform(0.1, 5, (options.tasks, 1)),
            rng.uniform(0, np.pi, (options.tasks, 1)),
        )
        x = rng.uniform(-5, 5, (2, options.tasks, 10))
        y = amplitude * np.sin(x - phase)
        pair = [torch.from_numpy(part).float()[..., None] for part in (x[0], y[0], x[1], y[1])]
        return mb.Task((pair[0], pair[1]), (pair[2], pair[3]))

    def step() -> None:
        case.tasks = draw()
        theta.grad = gradient()
        optimiser.step()

    step()
    return step


def _versus(rivals: dict, engines: dict, rounds: int) -> list[dict[str, object]]:
    seconds: dict[str, list[float]] = {name: [] for name in [*rivals, *engines]}
    for _ in range(rounds):
        for name, step in [*rivals.items(), *engines.items()]:
            count = PER_ROUND["rival" if name in rivals else "ours"]
            begun = time.perf_counter()
            for _ in range(count):
                step()
            seconds[name].append((time.perf_counter() - begun) / count)
    fastest = min(rivals, key=lambda name: statistics.median(seconds[name]), default=None)
    return [
        {
            "contender": name if name in rivals else f"metabench {name}",
            "median ms a step": round(1e3 * statistics.median(own), 3),
            "least ms": round(1e3 * min(own), 3),
            "faster than the fastest rival": fastest
            and round(
                statistics.median(a / b for a, b in zip(seconds[fastest], own, strict=True)), 2
            ),
        }
        for name, own in seconds.items()
    ]


def _overhead(options: argparse.Namespace) -> list[dict[str, object]]:
    """Time a step and the mean meta-gradient of its tasks alone, in turns."""
    rows = []
    for engine in options.engines:
        trainer = _trainer(options, engine)
        trainer.advance()
        tasks = trainer.subject.draw(mb.Address.fresh(0, options.tasks), 0)
        means = means_of(trainer.subject, trainer.outer, tasks, 10**6)
        theta = trainer.theta.clone()
        ratios, alone = [], []
        for i in range(options.rounds + 2):
            took = []
            for call in (trainer.advance, lambda m=means, t=theta, d=tasks: m(t, d)[0]):
                begun = time.perf_counter()
                for _ in range(60):
                    call()
                took.append(time.perf_counter() - begun)
            if i > 1:
                ratios.append(took[0] / took[1])
                alone.append(1e3 * took[1] / 60)
        rows.append(
            {
                "engine": engine,
                "meta-gradient ms": round(statistics.median(alone), 3),
                "step over meta-gradient": round(statistics.median(ratios), 3),
                "least": round(min(ratios), 3),
            }
        )
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1, help="K")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--engines", nargs="+", default=["eager", "trace", "compile"])
    parser.add_argument("--json", metavar="FILE", help="write the record here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
