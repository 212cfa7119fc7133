"""The MAML paper's sinusoid: error after 0 .. 10 gradient steps at test, MAML beside its baseline.

    python reports/literature_sinusoid/run.py --steps 10000

trains MAML, FOMAML and the pretrained baseline (joint training: no inner step) on 5 and 10 shots as
(Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), section 5.1, does (one inner step
of rate 0.01, Adam outside, 25 tasks a step), and writes `table.csv` and `findings.md` beside this
file. The baseline is fine-tuned at the rates of the paper's figure, 0.01 at 5 shots, 0.02 at 10.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from metabench import FOMAML, MAML, SGD, Address, Estimator, Lift, Outer, Sinusoid, Subject, Trainer
from metabench.stats import Estimate, Interval

HERE = Path(__file__).parent
TASKS, QUERIES = 600, 50  # at test
GRADIENT_STEPS = 10
TEST_SEED = 1  # training uses 0


def trained(shots: int, algorithm: Estimator, steps: int) -> Subject:
    """Train one algorithm; give what it ended at."""
    family = Sinusoid(shots=shots, queries=10)
    start = Subject(family.problem(), family.sample, algorithm, family.theta(0).float(), Lift())
    trainer = Trainer(start, Outer(rate=0.001, batch=25), steps)
    while trainer.step < steps and trainer.advance():
        pass
    return start.at(trainer.theta)


def errors(subject: Subject, shots: int, rate: float) -> list[Interval]:
    """Give the mean squared error on fresh tasks after 0 .. 10 steps of gradient descent."""
    family = Sinusoid(shots=shots, queries=QUERIES)
    measured = []
    for k in range(GRADIENT_STEPS + 1):
        algorithm = MAML(steps=k, step=SGD(rate))
        at_k = Subject(subject.problem, family.sample, algorithm, subject.theta, Lift("vmap"))
        tasks = at_k.draw(Address.fresh(0, TASKS), TEST_SEED)
        many = at_k.lift.per_task(
            lambda at, task, of=at_k: of.algorithm.objective(of.problem, at, task)
        )
        losses = many(subject.theta, tasks).double().numpy()
        measured.append(Estimate.mean(losses).interval())
    return measured


def main() -> None:
    """Train, test, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10_000)
    steps = parser.parse_args().steps
    lines = []
    for shots, baseline_rate in ((5, 0.01), (10, 0.02)):
        members: dict[str, tuple[Estimator, float]] = {
            "maml": (MAML(1, SGD(0.01)), 0.01),
            "fomaml": (FOMAML(1, SGD(0.01)), 0.01),
            "pretrained": (MAML(0), baseline_rate),
        }
        for name, (algorithm, rate) in members.items():
            found = errors(trained(shots, algorithm, steps), shots, rate)
            lines += [(shots, name, k, *interval) for k, interval in enumerate(found)]
            print(shots, name, " ".join(f"{each.value:.3g}" for each in found), flush=True)
    table = pd.DataFrame(lines, columns=["shots", "algorithm", "step", "value", "low", "high"])
    table.to_csv(HERE / "table.csv", index=False)
    (HERE / "findings.md").write_text(page(table, steps), encoding="utf-8")


def page(table: pd.DataFrame, steps: int) -> str:
    """Write the table as a page."""
    shown = [0, 1, 5, 10]
    text = [
        "# The MAML paper's sinusoid, measured here\n",
        f"`python reports/literature_sinusoid/run.py --steps {steps}`; mean squared error on "
        f"{TASKS} fresh tasks of {QUERIES} query points, with 95 % intervals over tasks.\n",
        "| shots | trained by | " + " | ".join(f"{k} steps" for k in shown) + " |",
        "|---" * (2 + len(shown)) + "|",
    ]
    for (shots, name), part in table.groupby(["shots", "algorithm"], sort=False):
        at = part.set_index("step")
        cells = [f"{at.value[k]:.3g} [{at.low[k]:.3g}, {at.high[k]:.3g}]" for k in shown]
        text.append(f"| {shots} | {name} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    main()
