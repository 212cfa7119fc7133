r"""Does implicit MAML reach MAML's accuracy, in memory that doesn't grow with K?

    python reports/literature_imaml/run.py

(Rajeswaran, Finn, Kakade & Levine, 2019, https://arxiv.org/abs/1909.04630), section 4: on Omniglot
implicit MAML with gradient descent inside (16 steps, :math:`\lambda = 2`, 5 steps of conjugate
gradients) is as accurate as MAML, and its memory doesn't depend on the number of inner steps. Here
both train a small network on digits, each at the inner loop that does best on fresh tasks of the
training digits after a short training: MAML at one of two rates, implicit MAML at one of three
pairs of K and proximal strength. Memory is counted: the largest number of bytes alive at once while
one task's meta-gradient is computed, as torch's kernels see it. Writes `accuracy.csv`, `memory.csv`
and `findings.md`.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.func import grad
from torch.nn import functional

from metabench import (
    CG,
    IMAML,
    MAML,
    SGD,
    Address,
    Algorithm,
    Digits,
    OuterOptimizer,
    Problem,
    Subject,
    Trainer,
    Vectorization,
)
from metabench.autodiff.operation_counts import work_of
from metabench.estimation.vectorization import first_task
from metabench.problems import architectures  # fmt: skip
from metabench.stats.intervals import Estimate

HERE = Path(__file__).parent
WAYS, SIZES = 5, (64, 32, 32, 5)
TRAIN, TEST = Digits(ways=WAYS, queries=5), Digits(ways=WAYS, queries=5, split="test")
SEEDS, STEPS, SHORT, TASKS = range(3), 600, 200, 600
OUTER = OuterOptimizer(rate=0.002, batch=8)
RATES, LOOPS = (0.2, 0.4), ((16, 0.05), (16, 0.2), (32, 0.05))  # ; K and lambda
KS = (1, 2, 5, 10, 16, 32, 64)
THEIRS = {"maml": (98.7, 0.4), "imaml": (99.16, 0.35)}  # 5-way 1-shot Omniglot, per cent


def problem() -> Problem:
    """Give the cross-entropy of a network without convolutions."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), architectures.mlp(SIZES))
    return Problem.from_module(net, functional.cross_entropy)


def candidates() -> dict[str, list[Algorithm]]:
    """Give what each may choose from."""
    return {
        "maml": [MAML(5, SGD(rate)) for rate in RATES],
        "imaml": [
            IMAML(steps, SGD(RATES[-1]), proximal_strength=strength, solver=CG(steps=5))
            for steps, strength in LOOPS
        ],
    }


def trained(algorithm: Algorithm, seed: int, steps: int) -> Subject:
    """Train from the seed's initialization; give where that ends."""
    theta = architectures.initial_parameters(architectures.mlp(SIZES), seed).float()
    compute = Vectorization("vmap", engine="trace")
    trainer = Trainer(
        Subject(problem(), TRAIN.sample, algorithm, theta, compute), OUTER, steps, seed
    )
    while trainer.step < steps and trainer.advance():
        pass
    return trainer.subject.at(trainer.theta)


def accuracies(subject: Subject, family: Digits, seed: int) -> NDArray[np.float64]:
    """Give the share of each fresh task's query set that is right after adaptation, `(T,)`."""
    at = Subject(
        subject.problem, family.sample, subject.algorithm, subject.theta, Vectorization("vmap")
    )
    with_accuracy = at.problem.with_accuracy()
    scores = at.compute.per_task(
        lambda theta, task: at.algorithm.objective(with_accuracy, theta, task)
    )
    found: NDArray[np.float64] = scores(at.theta, at.draw(Address.fresh(0, TASKS), seed)).numpy()
    return found[:, 1].astype(np.float64)


def held(algorithm: Algorithm) -> int:
    """Count the bytes that live at once in one task's meta-gradient."""
    at = Subject(
        problem(),
        TRAIN.sample,
        algorithm,
        architectures.initial_parameters(architectures.mlp(SIZES), 0).float(),
    )
    task = first_task(at.draw(Address.fresh(0, 1), 0))
    return work_of(lambda: algorithm(at.problem, at.theta, task).grad).bytes


def held_by_unroll(steps: int) -> int:
    """Count them for autograd through the unrolled loop, MAML as it is usually written."""
    of = problem()
    at = Subject(
        of,
        TRAIN.sample,
        MAML(),
        architectures.initial_parameters(architectures.mlp(SIZES), 0).float(),
    )
    task = first_task(at.draw(Address.fresh(0, 1), 0))

    def unrolled(theta: torch.Tensor) -> torch.Tensor:
        phi = theta
        for _ in range(steps):
            phi = phi - 0.1 * grad(of.inner_loss)(phi, theta, task.support)
        loss: torch.Tensor = of.outer_loss(phi, theta, task.query)
        return loss

    return work_of(grad(unrolled), at.theta).bytes


def memory() -> pd.DataFrame:
    """Count every way to the meta-gradient at every K."""
    lines: list[tuple[str, int, int]] = []
    for K in KS:
        lines += [
            ("maml, autograd through the unroll", K, held_by_unroll(K)),
            ("maml, none", K, held(MAML(K, SGD(0.1), rematerialize="none"))),
            ("maml, sqrt", K, held(MAML(K, SGD(0.1), rematerialize="sqrt"))),
            ("imaml, 5 steps of CG", K, held(IMAML(K, SGD(0.1), solver=CG(steps=5)))),
        ]
    return pd.DataFrame(lines, columns=["meta-gradient", "K", "bytes"])


def chosen() -> dict[str, Algorithm]:
    """Choose each one's settings by accuracy on fresh tasks of the training digits."""
    best: dict[str, Algorithm] = {}
    for name, members in candidates().items():
        scores = [accuracies(trained(each, 100, SHORT), TRAIN, 101).mean() for each in members]
        for each, score in zip(members, scores, strict=True):
            print(name, each, f"{score:.3f}", flush=True)
        best[name] = members[int(np.argmax(scores))]
    return best


def main() -> None:
    """Count, choose, train, test, write."""
    counted = memory()
    counted.to_csv(HERE / "memory.csv", index=False)
    best, right, lines = chosen(), {}, []
    for seed in SEEDS:
        for name, algorithm in best.items():
            begun = time.process_time()
            end = trained(algorithm, seed, STEPS)
            for kind, family in (("training", TRAIN), ("other", TEST)):
                right[kind, name, seed] = accuracies(end, family, 1)
                mean = Estimate.mean(right[kind, name, seed]).interval()
                lines.append((kind, name, seed, *mean))
                print(*lines[-1], f"{time.process_time() - begun:.0f} s", flush=True)
    table = pd.DataFrame(lines, columns=["digits", "algorithm", "seed", "accuracy", "low", "high"])
    table.to_csv(HERE / "accuracy.csv", index=False, float_format="%.5g")
    (HERE / "findings.md").write_text(page(best, table, counted, right), encoding="utf-8")


def page(
    best: dict[str, Algorithm],
    table: pd.DataFrame,
    counted: pd.DataFrame,
    right: dict[tuple[str, str, int], NDArray[np.float64]],
) -> str:
    """Write the tables."""
    seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
    text = [
        "# What it says\n",
        f"{WAYS}-way 1-shot accuracy, per cent, on {TASKS} tasks that were not trained on, with "
        f"95 % intervals over tasks, after {STEPS:,} outer steps of {OUTER.batch} tasks: fresh "
        "tasks of the training digits, 0 to 6, and of other digits, 7 to 9.\n",
        f"| digits | algorithm | {seeds} |",
        "|---" * (2 + len(SEEDS)) + "|",
    ]
    gains = {}
    for kind in ("training", "other"):
        for name, algorithm in best.items():
            part = table[(table["algorithm"] == name) & (table["digits"] == kind)]
            numbers = 100 * part[["accuracy", "low", "high"]].to_numpy()
            cells = [f"{mean:.1f} [{low:.1f}, {high:.1f}]" for mean, low, high in numbers]
            strength = (
                f", lambda {algorithm.proximal_strength:g}" if isinstance(algorithm, IMAML) else ""
            )
            settings = f"K = {algorithm.steps}, rate {algorithm.inner_optimizer.rate:g}{strength}"
            text.append(f"| {kind} | {name}, {settings} | {' | '.join(cells)} |")
        more = [
            Estimate.mean(right[kind, "imaml", s] - right[kind, "maml", s]).interval()
            for s in SEEDS
        ]
        cells = [f"{100 * g.value:+.1f} [{100 * g.low:+.1f}, {100 * g.high:+.1f}]" for g in more]
        text.append(f"| {kind} | imaml minus maml, same tasks | {' | '.join(cells)} |")
        gains[kind] = 100 * np.mean([g.value for g in more])
    (ours, one), (theirs, other) = THEIRS.values()
    text.append(
        f"\nThe paper, on Omniglot's test characters: maml {ours} ± {one}, imaml {theirs} ± "
        f"{other}; imaml minus maml {theirs - ours:+.2f}. Ours, mean over seeds: "
        f"{gains['training']:+.2f} on the training digits, {gains['other']:+.2f} on others.\n"
    )
    wide = counted.pivot_table(index="meta-gradient", columns="K", values="bytes", sort=False)
    text += [
        "KiB that live at once in one task's meta-gradient.\n",
        "| meta-gradient | " + " | ".join(f"K = {K}" for K in KS) + f" | {KS[-1]} over {KS[0]} |",
        "|---" * (2 + len(KS)) + "|",
    ]
    for way, row in wide.iterrows():
        cells = [f"{row[K] / 2**10:.0f}" for K in KS]
        text.append(f"| {way} | {' | '.join(cells)} | {row[KS[-1]] / row[KS[0]]:.2f} |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
