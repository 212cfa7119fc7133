"""The MAML paper's sinusoid: error after 0 .. 10 gradient steps at test, MAML beside its baselines.

    python reports/literature_sinusoid/run.py --shots 5 --steps 20000
    python reports/literature_sinusoid/run.py --shots 10 --steps 70000
    python reports/literature_sinusoid/run.py                           # the page again

Each trains MAML, FOMAML, the pretrained baseline (joint training: no inner step) and the oracle
(which is given amplitude and phase) as (Finn, Abbeel & Levine, 2017,
https://arxiv.org/abs/1703.03400), section 5.1, does: one inner step of rate 0.01, Adam of rate
0.001 outside, 25 tasks a step; and Reptile as the sine example of (Nichol, Achiam & Schulman, 2018,
https://arxiv.org/abs/1803.02999) does: 50 points a task, 5 inner mini-batches of 10 at rate 0.02,
one task a step, 30,000 steps of plain descent whose rate falls to nothing. `table_5.csv`,
`table_10.csv` and `findings.md` are written beside this file. The baseline is fine-tuned at the
rates that the paper's figure names, 0.01 at 5 shots and 0.02 at 10, Reptile at the 0.02 it was
trained with.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from metabench import (
    FOMAML,
    MAML,
    SGD,
    Address,
    Estimator,
    OuterOptimizer,
    Pretrain,
    Reptile,
    Sinusoid,
    Subject,
    Trainer,
    Vectorization,
)
from metabench.families.sinusoid import AMPLITUDES, INPUTS, PHASES
from metabench.problems import random_numbers
from metabench.stats.intervals import Estimate, Interval

HERE = Path(__file__).parent
TASKS, QUERIES = 600, 50  # at test
GRADIENT_STEPS = 10
TEST_SEED = 1  # training uses 0
REPTILE_STEPS = 30_000  # at most, as in its own example
# Li et al. (2017, https://arxiv.org/abs/1707.09835), table 1: MAML after one step, trained and
# tested at as many shots, on sine waves that differ in frequency, too. The MAML paper itself prints
# curves, no numbers.
PRINTED = {5: (1.13, 0.18), 10: (0.77, 0.11)}


def trained(family: Sinusoid, algorithm: Estimator, outer: OuterOptimizer, steps: int) -> Subject:
    """Train one algorithm; give what it ended at."""
    compute = Vectorization("vmap", engine="compile")
    start = Subject(family.problem(), family.sample, algorithm, family.theta(0).float(), compute)
    trainer = Trainer(start, outer, steps)
    while trainer.step < steps and trainer.advance():
        pass
    if trainer.failure:
        print(f"stopped: {trainer.failure.kind} at step {trainer.failure.step}", flush=True)
    return start.at(trainer.theta)


def errors(subject: Subject, shots: int, rate: float) -> list[Interval]:
    """Give the mean squared error on fresh tasks after 0 .. 10 steps of gradient descent."""
    family = Sinusoid(shots=shots, queries=QUERIES)
    measured = []
    for k in range(GRADIENT_STEPS + 1):
        algorithm = MAML(steps=k, inner_optimizer=SGD(rate))
        at_k = Subject(
            subject.problem, family.sample, algorithm, subject.theta, Vectorization("vmap")
        )
        tasks = at_k.draw(Address.fresh(0, TASKS), TEST_SEED)
        many = at_k.compute.per_task(
            lambda at, task, of=at_k: of.algorithm.objective(of.problem, at, task)
        )
        losses = many(subject.theta, tasks).double().numpy()
        measured.append(Estimate.mean(losses).interval())
    return measured


def oracle(steps: int) -> Interval:
    """Train a network of the same widths on (x, amplitude, phase), and test it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 40), torch.nn.ReLU(), torch.nn.Linear(40, 40), torch.nn.ReLU(),
        torch.nn.Linear(40, 1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 0.001, fused=True)
    generator = torch.Generator().manual_seed(0)
    for start in range(0, steps, 1000):
        uniforms = torch.rand(min(1000, steps - start), 25 * 20, 3, generator=generator)
        for batch in uniforms:
            inputs, y = waves(batch)
            optimizer.zero_grad()
            ((net(inputs) - y) ** 2).mean().backward()
            optimizer.step()
    numbers = random_numbers.uniform(TEST_SEED, "task", Address.fresh(0, TASKS), 2 + QUERIES)
    uniforms = torch.from_numpy(numbers).float()
    parts = (
        uniforms[:, 2:, None],
        *(uniforms[:, i, None, None].expand(-1, QUERIES, 1) for i in (0, 1)),
    )
    inputs, y = waves(torch.cat(parts, -1))
    with torch.no_grad():
        losses = ((net(inputs) - y) ** 2).mean((1, 2)).double().numpy()
    return Estimate.mean(losses).interval()


def waves(uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Turn uniform numbers `(..., 3)` into x, amplitude and phase `(..., 3)`, and y `(..., 1)`."""
    ends = torch.tensor([INPUTS, AMPLITUDES, PHASES])
    inputs = ends[:, 0] + (ends[:, 1] - ends[:, 0]) * uniforms
    x, amplitude, phase = (inputs[..., i : i + 1] for i in range(3))
    return inputs, amplitude * torch.sin(x - phase)


def measure(shots: int, steps: int) -> pd.DataFrame:
    """Train and test everything at one number of shots."""
    family = Sinusoid(shots=shots, queries=10)
    adam = OuterOptimizer(rate=0.001, batch=25)
    # a step of rate r moves theta by r (phi_0 - phi_K) / (alpha K): their 0.1 is 0.1 * 0.02 * 5
    falling = OuterOptimizer(
        optimizer="sgd", rate=0.01, batch=1, schedule="cosine", explode=float("inf")
    )
    tuned = {5: 0.01, 10: 0.02}[shots]
    members: dict[str, tuple[Sinusoid, Estimator, OuterOptimizer, int, float]] = {
        "maml": (family, MAML(1, SGD(0.01)), adam, steps, 0.01),
        "fomaml": (family, FOMAML(1, SGD(0.01)), adam, steps, 0.01),
        "pretrained": (family, Pretrain(1, SGD(0.01)), adam, steps, tuned),
        "reptile": (
            Sinusoid(shots=50), Reptile(5, SGD(0.02), batch=10), falling,
            min(steps, REPTILE_STEPS), 0.02,
        ),
    }  # fmt: skip
    lines: list[tuple[object, ...]] = []
    for name, (of, algorithm, outer, length, rate) in members.items():
        begun = time.perf_counter()
        found = errors(trained(of, algorithm, outer, length), shots, rate)
        took = time.perf_counter() - begun
        lines += [(shots, name, length, k, *interval) for k, interval in enumerate(found)]
        print(shots, name, f"{took:.0f} s", " ".join(f"{e.value:.3g}" for e in found), flush=True)
    losses = oracle(steps)
    print(shots, "oracle", losses, flush=True)
    lines.append((shots, "oracle", steps, 0, *losses))
    columns = ["shots", "algorithm", "outer_steps", "step", "value", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def page(table: pd.DataFrame) -> str:
    """Write the tables as a page."""
    shown = [0, 1, 5, 10]
    text = [
        "# What it says\n",
        f"Mean squared error on {TASKS} fresh tasks of {QUERIES} query points, with 95 % intervals "
        "over tasks, after so many gradient steps at test.\n",
        "| shots | trained by | outer steps | " + " | ".join(f"{k} steps" for k in shown) + " |",
        "|---" * (3 + len(shown)) + "|",
    ]
    for (shots, name), part in table.groupby(["shots", "algorithm"], sort=False):
        at = part.set_index("step")
        cells = [
            f"{at.value[k]:.3g} [{at.low[k]:.3g}, {at.high[k]:.3g}]" if k in at.index else ""
            for k in shown
        ]
        steps = int(part["outer_steps"].iloc[0])
        text.append(f"| {shots} | {name} | {steps:,} | {' | '.join(cells)} |")
    heads = "| shots | MAML, one step, in Meta-SGD's table 1 | ours | ours minus theirs |"
    text += ["", heads, "|---|---|---|---|"]
    ours = table[(table["algorithm"] == "maml") & (table["step"] == 1)].set_index("shots")
    for shots, (value, error) in PRINTED.items():
        if shots in ours.index:
            found = ours.loc[shots]
            text.append(
                f"| {shots} | {value} ± {error} | {found.value:.3g} [{found.low:.3g}, "
                f"{found.high:.3g}] | {found.value - value:+.2f} |"
            )
    return "\n".join(text) + "\n"


def main() -> None:
    """Train, test, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shots", type=int, choices=[5, 10])
    parser.add_argument("--steps", type=int, default=70_000)
    given = parser.parse_args()
    if given.shots:
        table = measure(given.shots, given.steps)
        table.to_csv(HERE / f"table_{given.shots}.csv", index=False, float_format="%.5g")
    tables = [
        pd.read_csv(HERE / f"table_{n}.csv") for n in (5, 10) if (HERE / f"table_{n}.csv").exists()
    ]
    (HERE / "findings.md").write_text(page(pd.concat(tables)), encoding="utf-8")


if __name__ == "__main__":
    main()
