"""Memory of the exact meta-gradient, and the cost of per-task gradients.

    python benchmarks/memory.py
    python benchmarks/memory.py --problem conv4 --how loop --tasks 1

Bytes are counted: the most that lived at once of what one call made, as torch's kernels saw it. The
plain unroll is autograd through all K steps, vectorized alike. The path is what the adjoint must
keep of it, phi and the optimizer's slots at each inner step.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import contenders
import torch
from problems import INNER_RATE, PROBLEMS, Case
from torch import Tensor
from torch.func import grad, vmap

import metabench as mb
from metabench.autodiff.compilation import accelerate
from metabench.estimation.vectorization import first_task

SHORT, LONG = 1, 50  # K
STEPS = {"sgd": mb.SGD(INNER_RATE), "adam": mb.Adam(INNER_RATE)}
MiB = 2**20


def main() -> None:
    """Print bytes at both K, their growth over the path's, and the cost of per-task gradients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=PROBLEMS, default="sinusoid")
    parser.add_argument("--how", choices=("vmap", "loop"), default="vmap")
    parser.add_argument("--tasks", type=int, default=25)
    parser.add_argument("--steps", type=int, default=5, help="K of the times")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--engines", nargs="+", default=["eager", "trace"], help="of the times")
    options = parser.parse_args()
    torch.set_num_threads(1)
    case = PROBLEMS[options.problem](options.tasks)
    print(f"{case.name}, {options.tasks} tasks, {options.how}; MiB that live at once")
    print(
        f"  step  rematerialize          K={SHORT}    K={LONG}  growth / path  "
        f"unroll / this at K={LONG}"
    )
    for name, step in STEPS.items():
        for rematerialize in ("sqrt", "none"):
            short, long = (held(case, k, step, rematerialize, options.how) for k in (SHORT, LONG))
            growth = (long - short) / path(case, step, options.how)
            apart = held_by_unroll(case, options.how) / long if name == "sgd" else None
            print(
                f"  {name:<5} {rematerialize:<10} {short / MiB:8.2f} {long / MiB:8.2f} "
                f"{growth:14.2f}" + (f" {apart:14.1f}" if apart else "")
            )
    if options.how == "vmap":
        print(f"load {os.getloadavg()[0]:.1f}; K = {options.steps}, {options.rounds} rounds")
        for engine in options.engines:
            for rematerialize in ("none", "sqrt"):
                ratio = statistics.median(
                    price(case, options.steps, rematerialize, engine, options.rounds)
                )
                print(
                    f"  per task, {engine}, {rematerialize}: {ratio:.2f} of the averaged "
                    "gradient's time"
                )


def held(case: Case, steps: int, step: mb.InnerOptimizer, rematerialize: str, how: str) -> int:
    """Count the bytes of the tasks' meta-gradients `(T, Q)`."""
    return mb.work_of(per_task(case, mb.MAML(steps, step, rematerialize=rematerialize), how)).bytes


def held_by_unroll(case: Case, how: str) -> int:
    """Count the bytes of the same gradients by autograd through the unrolled loop."""
    differentiated = grad(lambda theta, task: unrolled(case, LONG, theta, task))
    if how == "vmap":
        return mb.work_of(vmap(differentiated, in_dims=(None, 0)), case.theta, case.tasks).bytes
    return mb.work_of(differentiated, case.theta, first_task(case.tasks)).bytes


def path(case: Case, step: mb.InnerOptimizer, how: str) -> int:
    """Count the bytes of phi and slots over the steps between the short and the long loop."""
    numbers = (1 + len(step.start(case.theta))) * case.theta.numel()
    together = len(case.tasks.query[0]) if how == "vmap" else 1
    return (LONG - SHORT) * numbers * case.theta.element_size() * together


def price(case: Case, steps: int, rematerialize: str, engine: str, rounds: int) -> list[float]:
    """Time all tasks' gradients over the gradient of their mean loss, in turns, by one engine."""

    def mean(theta: Tensor, tasks: mb.Task) -> Tensor:
        losses = vmap(lambda at, task: unrolled(case, steps, at, task), in_dims=(None, 0))
        return losses(theta, tasks).mean()

    def by_autograd(theta: Tensor, tasks: mb.Task) -> Tensor:
        theta = theta.clone().requires_grad_()
        return torch.autograd.grad(mean(theta, tasks), theta)[0]

    meta_gradient = by_autograd if engine == "eager" else accelerate(grad(mean), engine)
    averaged = lambda: meta_gradient(case.theta, case.tasks)  # ruff: ignore[lambda-assignment]
    each = per_task(
        case, mb.MAML(steps, mb.SGD(INNER_RATE), rematerialize=rematerialize), "vmap", engine
    )
    torch.testing.assert_close(each().mean(0), averaged(), rtol=1e-4, atol=1e-6)
    return [_seconds(each) / _seconds(averaged) for _ in range(rounds)]


def per_task(case: Case, maml: mb.MAML, how: str, engine: str = "eager") -> Callable[[], Tensor]:
    """Vectorize the meta-gradient."""
    compute = mb.Vectorization(how, len(case.tasks.query[0]), engine)
    many = compute.per_task(lambda theta, task: maml(case.problem, theta, task).grad)
    return lambda: many(case.theta, case.tasks)


def unrolled(case: Case, steps: int, theta: Tensor, task: mb.Task) -> Tensor:
    """Return the query loss after K steps, as autograd can differentiate it."""
    phi, loss = theta, contenders.on_module(case)
    for _ in range(steps):
        phi = phi - INNER_RATE * grad(loss)(phi, task.support)
    return loss(phi, task.query)


def _seconds(run: Callable[[], Tensor]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
