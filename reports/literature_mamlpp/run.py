"""MAML++ against MAML across seeds on digits: how many trainings diverge, how far do they spread?

    python reports/literature_mamlpp/run.py

trains both from the same seeds, on the same tasks, at a moderate and at a high inner rate, and
tests on digits that neither saw. (Antoniou, Edwards & Storkey, 2019,
https://arxiv.org/abs/1810.09502) claim that MAML++ trains stably where MAML diverges or spreads
over seeds. A training has diverged where its meta-gradient could not be used any more, or where its
held-out loss ends above that of guessing, log 5. Writes `table.csv` and `findings.md`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import pandas as pd

from metabench import MAML, MAMLPP, SGD, Algorithm, Digits, Lift, Outer, Subject, Trainer

HERE = Path(__file__).parent
SEEDS, STEPS, WAYS = range(3), 30, 5
RATES = (0.1, 1.0)
FAMILY = {"ways": WAYS, "shots": 1, "queries": 5, "filters": 4}
K = 5


def members(rate: float) -> dict[str, tuple[Algorithm, str]]:
    """Give each algorithm with the schedule of its outer rate."""
    plus = MAMLPP(K, SGD(rate), loss_epochs=4, first_order_epochs=1)
    return {"maml": (MAML(K, SGD(rate)), "constant"), "mamlpp": (plus, "cosine")}


def ended(algorithm: Algorithm, schedule: str, seed: int) -> tuple[float, float, bool]:
    """Train; give held-out loss and accuracy, and whether it diverged."""
    train, test = Digits(**FAMILY), Digits(**FAMILY, split="test")
    start, held = (
        Subject(of.problem(), of.sample, algorithm, of.theta(seed).float(), Lift("loop"))
        for of in (train, test)
    )
    outer = Outer(rate=0.003, batch=4, schedule=schedule, epoch=5, held_out=50)
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
    for rate in RATES:
        for seed in SEEDS:
            for name, (algorithm, schedule) in members(rate).items():
                begun = time.process_time()
                lines.append((rate, name, seed, *ended(algorithm, schedule, seed)))
                print(*lines[-1], f"{time.process_time() - begun:.0f} s", flush=True)
    columns = ["inner_rate", "algorithm", "seed", "loss", "accuracy", "diverged"]
    table = pd.DataFrame(lines, columns=columns)
    table.to_csv(HERE / "table.csv", index=False, float_format="%.5g")
    text = [
        "# What it says\n",
        f"After {STEPS} outer steps of 4 tasks, K = {K}; {len(SEEDS)} seeds; 50 held-out tasks.\n",
        "| inner rate | algorithm | diverged | loss, mean | loss, standard deviation over seeds | "
        "accuracy, mean | lowest | highest |",
        "|---" * 8 + "|",
    ]
    for rate in RATES:
        for name in members(rate):
            part = table[(table["algorithm"] == name) & (table["inner_rate"] == rate)]
            loss, right = part["loss"], part["accuracy"]
            text.append(
                f"| {rate:g} | {name} | {int(part['diverged'].sum())} of {len(part)} | "
                f"{loss.mean():.3g} | {loss.std():.2g} | {right.mean():.3f} | {right.min():.3f} | "
                f"{right.max():.3f} |"
            )
    (HERE / "findings.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
