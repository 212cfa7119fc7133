"""Whole training steps, task sampling included: metabench and other libraries.

    python benchmarks/training.py --steps 1 --tasks 25 --rounds 10 --overhead 25x1 25x5 100x5

MAML on the paper's sinusoid with Adam outside, one thread. First every contender takes the same
first steps on the same tasks: the losses must agree to 1e-4 of their size, or nothing is timed.
Then a round is a few steps of each contender, which take turns in one process; what is quoted is
the median of the ratios within each round, in processor seconds, which other work disturbs least.
The libraries draw each batch by one vectorized call of NumPy's generator, and take the step of
torch.optim.Adam on their module's parameters. The second table holds a step of metabench's against
the mean meta-gradient alone, by the same engine, at so many tasks times so many inner steps.
"""

from __future__ import annotations

import argparse
import copy
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
from metabench.outer_loop.mean_gradient import mean_gradients

# Steps of a round. Ours draws the tasks of up to 256 steps together: a round holds their draw.
PER_ROUND = {"library": 3, "ours": 256}
CHECKED, AGREE = 5, 1e-4  # first steps that are compared, and how far losses may differ


def main() -> None:
    """Check that all take the same step, time them in turns, print the tables."""
    options = _options()
    torch.set_num_threads(1)
    engines = {engine: _ours(options, engine) for engine in options.engines}
    libraries = {}
    for name, maker in (("higher", contenders.higher), ("torchopt", contenders.torchopt)):
        try:
            libraries[name] = LibraryLoop(options, maker)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    agreement = _agreement(options, libraries)
    before = os.getloadavg()[0]
    record = {
        "command": "python benchmarks/training.py " + " ".join(sys.argv[1:]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "largest difference of losses": agreement,
        "versus libraries": _versus(libraries, engines, options.rounds),
        "step over meta-gradient": [
            row
            for size in options.overhead
            for row in _overhead(options, *map(int, size.split("x")))
        ],
        "load": [round(before, 2), round(os.getloadavg()[0], 2)],
    }
    print(json.dumps(record, indent=1))
    if options.json:
        with pathlib.Path(options.json).open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)


def _trainer(tasks: int, steps: int, engine: str) -> mb.Trainer:
    family = mb.Sinusoid()
    subject = mb.Subject(
        family.problem(), family.sample, mb.MAML(steps), family.theta(0).float(),
        mb.Vectorization(engine=engine),
    )  # fmt: skip
    return mb.Trainer(subject, mb.OuterOptimizer(batch=tasks), steps=10**6)


def _ours(options: argparse.Namespace, engine: str) -> Callable[[], object]:
    trainer = _trainer(options.tasks, options.steps, engine)
    for _ in range(5):
        trainer.advance()  # traced or compiled, and drawn ahead
    return trainer.advance


class LibraryLoop:
    """The same loop around a library's meta-gradient, as its user would write it."""

    def __init__(self, options: argparse.Namespace, maker: Callable) -> None:
        """Make its module and torch's Adam of the module's parameters."""
        case = PROBLEMS["sinusoid"](options.tasks)
        self._case = SimpleNamespace(**case._asdict())
        self._loss, self._losses = case.loss, []
        self._options, self._rng = options, np.random.default_rng(0)
        self._net = copy.deepcopy(case.net)
        self._gradient = maker(self._case, options.steps, self._net)
        self._optimizer = torch.optim.Adam(self._net.parameters(), 0.001)

    def __call__(self) -> None:
        """Draw tasks and take one step."""
        self._case.tasks = self._draw()
        self.move()

    def move(self) -> None:
        """Take a step on the given tasks."""
        self._gradient()  # which leaves the sum over tasks in the parameters' grads
        for parameter in self._net.parameters():
            parameter.grad /= self._options.tasks
        self._optimizer.step()

    def check(self, tasks: mb.Task) -> float:
        """Take a step on these tasks and return their mean query loss."""
        self._case.tasks, self._case.loss = tasks, self._seen
        self._losses = []
        self.move()
        self._case.loss = self._loss
        each = self._options.steps + 1  # losses of a task, the query's last
        return statistics.fmean(self._losses[each - 1 :: each])

    def _seen(self, prediction: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = self._loss(prediction, y)
        self._losses.append(float(loss.detach()))
        return loss

    def _draw(self) -> mb.Task:
        T, rng = self._options.tasks, self._rng
        amplitude, phase = rng.uniform(0.1, 5, (T, 1)), rng.uniform(0, np.pi, (T, 1))
        x = rng.uniform(-5, 5, (2, T, 10))
        y = amplitude * np.sin(x - phase)
        pair = [torch.from_numpy(part).float()[..., None] for part in (x[0], y[0], x[1], y[1])]
        return mb.Task((pair[0], pair[1]), (pair[2], pair[3]))


def _agreement(options: argparse.Namespace, libraries: dict[str, LibraryLoop]) -> dict[str, float]:
    """Take the first steps with all contenders on the same tasks; stop if the losses differ."""
    trainer = _trainer(options.tasks, options.steps, options.engines[0])
    drawn = [trainer.subject.draw(mb.Address.fresh(n * options.tasks, options.tasks), 0)
             for n in range(CHECKED)]  # fmt: skip
    for _ in range(CHECKED):
        trainer.advance()
    ours = [entry.loss for entry in trainer.log]
    differences = {}
    for name, library in libraries.items():
        theirs = [library.check(tasks) for tasks in drawn]
        pairs = zip(ours, theirs, strict=True)
        differences[name] = max(abs(a - b) / abs(b) for a, b in pairs)
        if differences[name] > AGREE:
            sys.exit(f"{name} trains otherwise: losses {theirs}, metabench's {ours}.")
    if len(set(ours)) < CHECKED:
        sys.exit("The loss did not move: nothing was trained.")
    return differences


def _versus(libraries: dict, engines: dict, rounds: int) -> list[dict[str, object]]:
    seconds: dict[str, list[float]] = {name: [] for name in [*libraries, *engines]}
    for _ in range(rounds):
        for name, step in [*libraries.items(), *engines.items()]:
            count = PER_ROUND["library" if name in libraries else "ours"]
            begun = time.process_time()
            for _ in range(count):
                step()
            seconds[name].append((time.process_time() - begun) / count)
    fastest = min(libraries, key=lambda name: statistics.median(seconds[name]), default=None)
    return [
        {
            "contender": name if name in libraries else f"metabench {name}",
            "median ms a step": round(1e3 * statistics.median(own), 3),
            "least ms": round(1e3 * min(own), 3),
            "faster than the fastest library": fastest
            and round(
                statistics.median(a / b for a, b in zip(seconds[fastest], own, strict=True)), 2
            ),
        }
        for name, own in seconds.items()
    ]


def _overhead(options: argparse.Namespace, size: int, steps: int) -> list[dict[str, object]]:
    """Time a step and the mean meta-gradient of its tasks alone, in turns."""
    rows = []
    for engine in options.engines:
        trainer = _trainer(size, steps, engine)
        trainer.advance()
        tasks = trainer.subject.draw(mb.Address.fresh(0, size), 0)
        means = mean_gradients(trainer.subject, trainer.outer, tasks, 10**6).fast_means()
        theta = trainer.theta.clone()
        ratios, alone = [], []
        for i in range(options.rounds + 2):
            took = []
            for call in (trainer.advance, lambda m=means, t=theta, d=tasks: m(t, d)[0]):
                begun = time.process_time()
                for _ in range(PER_ROUND["ours"]):
                    call()
                took.append(time.process_time() - begun)
            if i > 1:
                ratios.append(took[0] / took[1])
                alone.append(1e3 * took[1] / PER_ROUND["ours"])
        rows.append(
            {
                "tasks": size,
                "K": steps,
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
    parser.add_argument("--overhead", nargs="*", default=["25x1"], help="tasks x K")
    parser.add_argument("--json", metavar="FILE", help="write the record here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
