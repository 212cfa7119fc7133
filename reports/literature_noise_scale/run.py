r"""Do fewer steps suffice at a larger task batch, by as much as the noise scale predicts?

    python reports/literature_noise_scale/run.py

(McCandlish, Kaplan, Amodei & OpenAI Dota Team, 2018, https://arxiv.org/abs/1812.06162), section 2:
where the rate is tuned, a step of plain descent at batch size B makes the share :math:`1 / (1 +
\mathcal{B} / B)` of the progress of a step without noise, :math:`\mathcal{B}` being the noise
scale, so that a loss is reached in :math:`S(B) = S_{min} (1 + \mathcal{B} / B)` steps. MAML is
trained on the paper's sinusoid by plain descent at each task batch B, until the loss on held-out
tasks reaches the target; of a grid of outer rates that with the fewest steps counts. The probe
`variance` measures the noise scale along the training with the largest B, once at the rate that is
fastest there and once at an eighth of it, in case what it sees is theta bouncing across its valley;
the mean over the steps predicts the other rows. The noise scale that the steps themselves ask for
is fitted to them. Writes `steps.csv`, `scale.csv` and `findings.md`; with `--kept` the steps are
read from `steps.csv` instead of trained for.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.stats import t as student
from torch import Tensor

from metabench import MAML, SGD, OuterOptimizer, Sinusoid, Subject, Trainer, Variance, Vectorization

HERE = Path(__file__).parent
FAMILY = Sinusoid()
SIZES = (2, 4, 8, 16, 32, 64, 128)  # B
RATES = 0.16 / 2.0 ** (np.arange(14) / 2)  # beta
SEEDS = range(3)
TARGET = 1.8  # held-out loss
GROWN = 1.05  # factor between the steps at which the loss is evaluated
MOST = 10_000  # steps
SLOWER = 8  # so many times lower is the rate of the second path
PARTS = 5  # of the way to the target, at whose ends the noise scale is measured


class Reached(NamedTuple):
    """A training that reached the target."""

    steps: float  # infinite if it did not
    rate: float
    thetas: list[Tensor]  # at each evaluation
    at: list[int]  # the steps of the evaluations


def start() -> Subject:
    """Return MAML with one inner step, as the MAML paper trains it."""
    compute = Vectorization("vmap", engine="trace")
    return Subject(
        FAMILY.problem(), FAMILY.sample, MAML(1, SGD(0.01)), FAMILY.theta(0).float(), compute
    )


def outer(size: int, rate: float) -> OuterOptimizer:
    """Give plain descent, which goes on whatever happens."""
    return OuterOptimizer("sgd", rate=rate, batch=size, explode=math.inf, held_out=256)


def descend(trainer: Trainer, rate: float, most: float) -> Reached:
    """Train until the target is reached, or for `most` steps."""
    thetas, at, following = [trainer.theta.clone()], [0], 1.0
    while trainer.step < most and trainer.advance():
        if trainer.step < following:
            continue
        following = max(following * GROWN, following + 1)
        loss = trainer.held_out_losses(trainer.theta).mean()
        thetas.append(trainer.theta.clone())
        at.append(trainer.step)
        if loss <= TARGET:
            return Reached(trainer.step, rate, thetas, at)
        if not loss < 100:
            break
    return Reached(math.inf, rate, [], [])


def fewest(first: Trainer, size: int, seed: int) -> Reached:
    """Search the rates up and down from a guess, each way until two in a row were slower."""
    best = Reached(math.inf, math.nan, [], [])
    guess = int(np.argmin(np.abs(np.log(RATES * (1 + 8 / size) / 0.08))))
    for way in (range(guess, -1, -1), range(guess + 1, len(RATES))):
        slower = 0
        for i in way:
            trainer = first.with_seed(seed, outer(size, float(RATES[i])))
            found = descend(trainer, float(RATES[i]), min(best.steps, MOST))
            best, slower = (found, 0) if found.steps < best.steps else (best, slower + 1)
            if slower == 2:
                break
    return best


def scales(subject: Subject, reached: Reached) -> pd.DataFrame:
    """Measure the noise scale along a training, after equal parts of its steps."""
    probe = Variance(tasks=4096, batches=16, redrawn_tasks=0, shot_multiples=0)
    lines = []
    for part in range(PARTS + 1):
        i = int(np.argmin(np.abs(np.array(reached.at) - reached.steps * part / PARTS)))
        rows = probe.measure(subject.at(reached.thetas[i]), seed=1000 + part)
        (row,) = [row for row in rows if row.quantity == "noise_scale" and not row.layer]
        lines.append((reached.rate, reached.at[i], row.value, row.low, row.high))
        print(*lines[-1], flush=True)
    return pd.DataFrame(lines, columns=["rate", "step", "noise_scale", "low", "high"])


def law(size: NDArray[np.float64], log_least: float, log_scale: float) -> NDArray[np.float64]:
    """Give log S(B)."""
    found: NDArray[np.float64] = log_least + np.log1p(np.exp(log_scale) / size)
    return found


def searched() -> pd.DataFrame:
    """Train everywhere, for the fewest steps."""
    subject, lines = start(), []
    for size in reversed(SIZES):
        first = Trainer(subject, outer(size, 0.0), MOST)
        first.advance()  # traced once
        first.validate()
        for seed in SEEDS:
            begun = time.process_time()
            found = fewest(first, size, seed)
            lines.append((size, seed, found.rate, found.steps))
            print(*lines[-1], f"{time.process_time() - begun:.0f} s", flush=True)
    steps = pd.DataFrame(lines, columns=["B", "seed", "rate", "steps"])
    return steps.sort_values(["B", "seed"])


def main() -> None:
    """Train everywhere, measure along the way with the largest B, compare, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kept", action="store_true", help="take the steps from steps.csv")
    if parser.parse_args().kept:
        steps = pd.read_csv(HERE / "steps.csv")
    else:
        steps = searched()
        steps.to_csv(HERE / "steps.csv", index=False, float_format="%.5g")
    subject, last = start(), steps[steps["B"] == SIZES[-1]].iloc[0]
    first = Trainer(subject, outer(SIZES[-1], last["rate"]), MOST, int(last["seed"]))
    rates = last["rate"], last["rate"] / SLOWER
    paths = [descend(first.with_seed(first.seed, outer(SIZES[-1], r)), r, MOST) for r in rates]
    scale = pd.concat([scales(subject, path) for path in paths])
    scale.to_csv(HERE / "scale.csv", index=False, float_format="%.5g")
    text = page(steps, scale)
    (HERE / "findings.md").write_text(text, encoding="utf-8")
    print(text)


def page(steps: pd.DataFrame, scale: pd.DataFrame) -> str:
    """Hold the steps against what the noise scale along either path predicts."""
    sizes = np.array(SIZES, np.float64)
    means = [
        float(np.trapezoid(part["noise_scale"], part["step"]) / part["step"].iloc[-1])
        for _, part in scale.groupby("rate", sort=False)
    ]
    predicted = [(1 + mean / sizes) / (1 + mean / sizes[-1]) for mean in means]
    logs = np.log(steps["steps"].to_numpy()).reshape(len(SIZES), -1)
    needed = np.exp(logs.mean(1))
    many = np.repeat(sizes, logs.shape[1])
    fitted, spread = curve_fit(law, many, logs.ravel(), p0=(logs.min(), math.log(20.0)))
    wide = student.ppf(0.975, logs.size - 2) * math.sqrt(spread[1, 1])
    low, fit, high = (math.exp(fitted[1] + d) for d in (-wide, 0.0, wide))
    text = [
        "# What it says\n",
        f"Steps until the loss on 256 held-out tasks is {TARGET:g}, at the best outer rate for "
        f"each B; the geometric mean of {len(SEEDS)} seeds, and the range. Over those at B = "
        f"{SIZES[-1]}: needed, and predicted by the noise scale along the fastest training, and "
        "along one at an eighth of its rate.\n",
        "| B | outer rates | steps | range | needed | predicted | predicted, slow | "
        "needed / predicted | needed / predicted, slow |",
        "|---" * 9 + "|",
    ]
    for i, size in enumerate(SIZES):
        part = steps[steps["B"] == size]
        rates = ", ".join(f"{rate:.3g}" for rate in sorted(set(part["rate"]), reverse=True))
        ratio, fast, slow = needed[i] / needed[-1], *(ratios[i] for ratios in predicted)
        text.append(
            f"| {size} | {rates} | {needed[i]:.0f} | {part['steps'].min():.0f} to "
            f"{part['steps'].max():.0f} | {ratio:.2f} | {fast:.2f} | {slow:.2f} | "
            f"{ratio / fast:.2f} | {ratio / slow:.2f} |"
        )
    text += [
        f"\nNoise scale along the trainings with B = {SIZES[-1]}, first seed, by the probe.\n",
        "| outer rate | step | noise scale |",
        "|---|---|---|",
        *(
            f"| {r:.3g} | {s:.0f} | {v:.3g} [{lo:.3g}, {hi:.3g}] |"
            for r, s, v, lo, hi in scale.to_numpy()
        ),
        f"\nIts means over those steps are {means[0]:.3g} and {means[1]:.3g} tasks. The steps "
        f"themselves ask for {fit:.3g} [{low:.3g}, {high:.3g}]: {fit / means[0]:.2f} and "
        f"{fit / means[1]:.2f} times as many.",
    ]
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
