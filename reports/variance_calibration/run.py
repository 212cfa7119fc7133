"""Do the intervals of `metabench variance` cover? On quadratics, where the truth is known.

    python reports/variance_calibration/run.py --repetitions 1000

runs the probe on as many independent seeds, holds every interval it prints against the closed form,
and writes `coverage.csv` (every interval) and `README.md` (the worst over B) beside this file. It
exits with 1 if a coverage lies outside [92 %, 99 %].
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd

from metabench import FOMAML, MAML, SGD, Algorithm, Lift, Quadratic, Subject, Variance
from metabench.families.quadratic import Truth
from metabench.rows import Row
from metabench.stats import share_interval

HERE = Path(__file__).parent
REQUIRED = 0.92, 0.99


class Setting(NamedTuple):
    """A problem, an estimator and a sample size whose intervals are checked."""

    name: str
    family: Quadratic
    algorithm: Algorithm
    tasks: int

    @property
    def truth(self) -> Truth:
        """Exact moments at the theta that every repetition uses."""
        first_order = isinstance(self.algorithm, FOMAML)
        steps, rate = self.algorithm.steps, self.algorithm.step.rate
        truth: Truth = self.family.truth(self.family.theta(0), steps, rate, first_order)
        return truth


SMALL = Quadratic(dim=8, shots=3, queries=3)
SETTINGS = (
    Setting("strong signal", SMALL, MAML(steps=1, step=SGD(rate=0.1)), 512),
    Setting("default size", SMALL, MAML(steps=5, step=SGD(rate=0.3)), 4096),
    Setting("weak signal", replace(SMALL, offset=0.2), MAML(steps=1, step=SGD(rate=0.1)), 2048),
    Setting("few tasks", SMALL, FOMAML(steps=1, step=SGD(rate=0.1)), 128),
    Setting("two dimensions", replace(SMALL, dim=2), MAML(steps=3, step=SGD(rate=0.5)), 512),
)


def expected(truth: Truth, row: Row) -> float | None:
    """Give what a row should hold, or None where it claims no interval."""
    B = row.at or 1.0
    return {
        "variance": truth.variance / B,
        "snr": B / truth.noise_scale,
        "task_variance": truth.variance,
        "mean_norm_squared": truth.mean_norm_squared,
        "noise_scale": truth.noise_scale,
        "slope": -1.0,
    }.get(row.quantity)


def covered(setting: Setting, seed: int) -> Iterator[tuple[str, float, bool, bool]]:
    """Yield each interval's quantity, B, whether it holds the truth, and whether it is bounded."""
    family, truth = setting.family, setting.truth
    lift = Lift(chunk=setting.tasks)
    subject = Subject(family.problem(), family.sample, setting.algorithm, family.theta(0), lift)
    for row in Variance(tasks=setting.tasks).measure(subject, seed):
        value = expected(truth, row)
        if value is None or row.low is None:
            continue
        high = float("inf") if row.high is None else row.high
        yield row.quantity, row.at or 0.0, row.low <= value <= high, row.high is not None


def study(repetitions: int, settings: tuple[Setting, ...] = SETTINGS) -> pd.DataFrame:
    """Give the coverage of every interval in every setting, a line each."""
    lines = []
    for setting in settings:
        seen: dict[tuple[str, float], list[tuple[bool, bool]]] = {}
        for seed in range(1, repetitions + 1):
            for quantity, at, hit, bounded in covered(setting, seed):
                seen.setdefault((quantity, at), []).append((hit, bounded))
            if seed % 50 == 0:
                click.echo(f"{setting.name}: {seed} of {repetitions}", err=True)
        for (quantity, at), outcomes in seen.items():
            hits = sum(hit for hit, _ in outcomes)
            share = share_interval(hits, len(outcomes))
            lines.append(
                {
                    "setting": setting.name,
                    "tasks": setting.tasks,
                    "quantity": quantity,
                    "B": at,
                    "intervals": len(outcomes),
                    "bounded": sum(bounded for _, bounded in outcomes) / len(outcomes),
                    "coverage": share.value,
                    "low": share.low,
                    "high": share.high,
                }
            )
    return pd.DataFrame(lines)


INTRODUCTION = """# Do the intervals of `metabench variance` cover?

{repetitions} independent repetitions of the probe in each of five settings on the `quadratic`
family, whose moments are closed forms. Share of 95 % intervals that hold the truth; where a
quantity is measured at several B, the lowest and the highest share. `coverage.csv` has every one
with its exact binomial limits. Made by

    python reports/variance_calibration/run.py --repetitions {repetitions}

Signal-to-noise intervals are those of the noise scale, turned over. Wanted: 92 % to 99 %.
"bounded" is the share of noise-scale intervals with a finite upper end: where it is low, the probe
says that the mean can't be told from zero, and claims no noise scale.

"""


def summary(table: pd.DataFrame, repetitions: int) -> str:
    """Write the study's page."""
    lines = ["| setting | tasks | quantity | coverage | bounded |", "|---|---|---|---|---|"]
    for (setting, tasks, quantity), part in table.groupby(
        ["setting", "tasks", "quantity"], sort=False
    ):
        low, high = part["coverage"].min(), part["coverage"].max()
        shown = f"{low:.1%}" if low == high else f"{low:.1%} to {high:.1%}"
        bounded = f"{part['bounded'].min():.0%}" if quantity == "noise_scale" else ""
        lines.append(f"| {setting} | {tasks} | {quantity} | {shown} | {bounded} |")
    return INTRODUCTION.format(repetitions=repetitions) + "\n".join(lines) + "\n"


@click.command()
@click.option("--repetitions", default=1000, show_default=True, help="Seeds a setting.")
def main(repetitions: int) -> None:
    """Run the study and write its tables."""
    table = study(repetitions)
    table.to_csv(HERE / "coverage.csv", index=False, float_format="%.4f")
    (HERE / "README.md").write_text(summary(table, repetitions), encoding="utf-8")
    click.echo(table.to_string())
    outside = table[(table["coverage"] < REQUIRED[0]) | (table["coverage"] > REQUIRED[1])]
    sys.exit(1 if len(outside) else 0)


if __name__ == "__main__":
    main()
