"""MAML++ against MAML across seeds on digits: how many trainings diverge, how far do they spread?

    python reports/literature_mamlpp/run.py

trains both from the same seeds, on the same tasks, at a usual inner rate and at higher ones, with
K = 5 as in the paper, and tests on digits that neither saw. (Antoniou, Edwards & Storkey, 2019,
https://arxiv.org/abs/1810.09502) claim that MAML++ trains stably where MAML diverges or spreads
over seeds. A training has diverged where its meta-gradient could not be used any more, or where its
held-out loss ends above that of guessing, log 5. The network is small, without convolutions, so
that six seeds fit, or four where it has batch norm. Writes `table.csv` and `findings.md`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import binomtest, chi2
from torch.nn import functional

from metabench import (
    MAML,
    MAMLPP,
    SGD,
    Algorithm,
    Digits,
    Lift,
    Outer,
    Problem,
    Subject,
    Trainer,
    nets,
)

HERE = Path(__file__).parent
STEPS, EPOCH, WAYS, BATCH = 120, 15, 5, 8
# batch norm, inner rate, seeds
SETTINGS = ((False, 1.0, 6), (False, 2.0, 6), (False, 3.0, 6), (True, 3.0, 4))
K = 5


def net(norm: bool) -> torch.nn.Module:
    """Build the network, its images flattened."""
    return torch.nn.Sequential(torch.nn.Flatten(), nets.mlp((64, 32, 32, WAYS), norm))


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
            nets.initial(net(norm), seed).float(), Lift("vmap", engine="eager"),
        )
        for split in ("train", "test")
    )  # fmt: skip
    outer = Outer(rate=0.003, batch=BATCH, schedule=schedule, epoch=EPOCH, held_out=200)
    trainer = Trainer(start, outer, STEPS, seed, held)
    while trainer.step < STEPS and trainer.advance():
        pass
    loss, accuracy = trainer.validate()
    assert accuracy is not None
    guessing = not loss.value <= math.log(WAYS)
    return loss.value, accuracy.value, trainer.failure is not None or guessing


def main() -> None:
    """Train everything, write."""
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
    text = page(table)
    (HERE / "findings.md").write_text(text, encoding="utf-8")
    print(text)


def page(table: pd.DataFrame) -> str:
    """Write the table with intervals over seeds."""
    text = [
        "# What it says\n",
        f"After {STEPS} outer steps of {BATCH} tasks, K = {K}; 200 held-out "
        "tasks, 5 ways, 1 shot. Shares with Wilson's 95 % interval, standard deviations with that "
        "of normal samples.\n",
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
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
