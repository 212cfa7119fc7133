"""MAML++ against MAML across seeds on digits: how many trainings diverge, how far do they spread?

    python reports/literature_mamlpp/run.py

trains both from the same seeds, on the same tasks, at a usual inner rate and at higher ones, with
K = 5 as in the paper, and tests all of them on the same tasks of digits that none saw, so that what
is spread over seeds is training alone. (Antoniou, Edwards & Storkey, 2019,
https://arxiv.org/abs/1810.09502) claim that MAML++ trains stably where MAML diverges or spreads
over seeds. A training has diverged where its meta-gradient could not be used any more, or where its
held-out loss ends above that of guessing, log 5. The network is small, without convolutions. Seeds
come in pairs, so that the ratio of two spreads has the interval of
(Pitman, 1939, https://doi.org/10.1093/biomet/31.1-2.9). Writes `table.csv` and `findings.md`, the
latter alone with `--kept`.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2, t
from torch.nn import functional

from metabench import (
    MAML,
    MAMLPP,
    SGD,
    Algorithm,
    Digits,
    OuterOptimizer,
    Problem,
    Subject,
    Trainer,
    Vectorization,
)
from metabench.problems import architectures

Array = NDArray[np.float64]
HERE = Path(__file__).parent
STEPS, EPOCH, WAYS, BATCH = 120, 15, 5, 8
JUDGED, JUDGE = 400, 1000  # test tasks, and the seed they are drawn from, whatever the training's
# batch norm, inner rate, seeds
SETTINGS = (
    (False, 1.0, 12), (False, 2.0, 12), (False, 2.25, 12), (False, 3.0, 6), (True, 3.0, 6)
)  # fmt: skip
K = 5


def net(norm: bool) -> torch.nn.Module:
    """Build the network, its images flattened."""
    return torch.nn.Sequential(torch.nn.Flatten(), architectures.mlp((64, 32, 32, WAYS), norm))


def members(rate: float) -> dict[str, tuple[Algorithm, str]]:
    """Give each algorithm with the schedule of its outer rate."""
    plus = MAMLPP(K, SGD(rate), loss_epochs=4, first_order_epochs=1)
    return {"maml": (MAML(K, SGD(rate)), "constant"), "mamlpp": (plus, "cosine")}


def ended(norm: bool, algorithm: Algorithm, schedule: str, seed: int) -> tuple[float, float, bool]:
    """Train; give held-out loss and accuracy, and whether it diverged."""
    problem = Problem.from_module(net(norm), functional.cross_entropy)
    start, held = (
        Subject(
            problem, Digits(WAYS, queries=5, split=split).sample, algorithm,
            architectures.initial_parameters(net(norm), seed).float(),
            Vectorization("vmap", engine="eager"),
        )
        for split in ("train", "test")
    )  # fmt: skip
    outer = OuterOptimizer(rate=0.003, batch=BATCH, schedule=schedule, epoch=EPOCH)
    trainer = Trainer(start, outer, STEPS, seed, held)
    while trainer.step < STEPS and trainer.advance():
        pass
    judged = replace(outer, held_out=JUDGED)
    loss, accuracy = Trainer(start.at(trainer.theta), judged, STEPS, JUDGE, held).validate()
    assert accuracy is not None
    guessing = not loss.value <= math.log(WAYS)
    return loss.value, accuracy.value, trainer.failure is not None or guessing


def main() -> None:
    """Train everything, unless what was trained is kept, and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kept", action="store_true", help="take the trainings from table.csv")
    table = pd.read_csv(HERE / "table.csv") if parser.parse_args().kept else measured()
    text = page(table)
    (HERE / "findings.md").write_text(text, encoding="utf-8")
    print(text)


def measured() -> pd.DataFrame:
    """Train with every setting, seed and algorithm; a line each."""
    lines: list[tuple[object, ...]] = []
    for norm, rate, seeds in SETTINGS:
        for seed in range(seeds):
            for name, (algorithm, schedule) in members(rate).items():
                begun = time.process_time()
                lines.append((norm, rate, name, seed, *ended(norm, algorithm, schedule, seed)))
                print(*lines[-1], f"{time.process_time() - begun:.0f} s", flush=True)
    columns = ["norm", "inner_rate", "algorithm", "seed", "loss", "accuracy", "diverged"]
    table = pd.DataFrame(lines, columns=columns)
    table.to_csv(HERE / "table.csv", index=False, float_format="%.5g")
    return table


def page(table: pd.DataFrame) -> str:
    """Write the table with intervals over seeds."""
    text = [
        "# What it says\n",
        f"After {STEPS} outer steps of {BATCH} tasks, K = {K}; {JUDGED} held-out tasks, the same "
        "for all, 5 ways, 1 shot. Shares with Wilson's 95 % interval, standard deviations with "
        "that of normal samples.\n",
        "| batch norm | inner rate | algorithm | share diverged | accuracy, mean | its "
        "standard deviation over seeds | lowest | highest | loss, mean |",
        "|---" * 9 + "|",
    ]
    for norm, rate, _ in SETTINGS:
        for name in members(rate):
            own = (table["norm"] == norm) & (table["inner_rate"] == rate)
            part = table[own & (table["algorithm"] == name)]
            lost, n = int(part["diverged"].sum()), len(part)
            share = binomtest(lost, n).proportion_ci(method="wilson")
            right = part["accuracy"]
            low, high = (right.std() * math.sqrt((n - 1) / chi2.ppf(p, n - 1))
                         for p in (0.975, 0.025))  # fmt: skip
            text.append(
                f"| {'yes' if norm else 'no'} | {rate:g} | {name} | {lost} of {n}: {lost / n:.2f} "
                f"[{share.low:.2f}, {share.high:.2f}] | {right.mean():.3f} | {right.std():.3f} "
                f"[{low:.3f}, {high:.3f}] | {right.min():.3f} | {right.max():.3f} "
                f"| {part['loss'].mean():.3g} |"
            )
    return "\n".join([*text, *spreads(table)]) + "\n"


def spreads(table: pd.DataFrame) -> list[str]:
    """Compare the spreads over seeds, of all trainings, whether they diverged or not."""
    text = [
        "",
        "Standard deviation over seeds of maml's accuracy, over that of mamlpp's; above 1, "
        "mamlpp's is smaller.",
        "",
        "| batch norm | inner rate | seeds | diverged, maml and mamlpp | ratio | correlation |",
        "|---" * 6 + "|",
    ]
    for norm, rate, seeds in SETTINGS:
        part = table[(table["norm"] == norm) & (table["inner_rate"] == rate)]
        lost = part.groupby("algorithm")["diverged"].sum()
        pair = part.pivot_table(index="seed", columns="algorithm", values="accuracy")
        ratio, low, high = paired_ratio(pair["maml"].to_numpy(), pair["mamlpp"].to_numpy())
        text.append(
            f"| {'yes' if norm else 'no'} | {rate:g} | {seeds} | {lost['maml']} and "
            f"{lost['mamlpp']} | {ratio:.2f} [{low:.2f}, {high:.2f}] "
            f"| {pair['maml'].corr(pair['mamlpp']):.2f} |"
        )
    return text


def paired_ratio(one: Array, other: Array) -> tuple[float, float, float]:
    """Give the ratio of two standard deviations and its 95 % interval, from paired values."""
    n = len(one)
    ratio = float(one.var(ddof=1) / other.var(ddof=1))
    apart = 1 - float(np.corrcoef(one, other)[0, 1]) ** 2
    k = 1 + 2 * apart * float(t.ppf(0.975, n - 2)) ** 2 / (n - 2)
    wide = math.sqrt(k * k - 1)
    low, high = (math.sqrt(ratio * end) for end in (k - wide, k + wide))
    return math.sqrt(ratio), low, high


if __name__ == "__main__":
    main()
