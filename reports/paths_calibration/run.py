"""Do the intervals of `metabench explosion`, `agreement` and `cost` cover? On noisy quadratics.

    python reports/paths_calibration/run.py --repetitions 1000

draws as many independent samples of tasks, whose inner iterates and meta-gradients are closed forms
(tests compare the probes with the same forms to 1e-6), applies the probes' statistics to them, and
compares every interval with quantiles and means over 60,000 other tasks. Writes
`coverage.csv` and `coverage.md` beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metabench import Quadratic
from metabench.probes.agreement import compare
from metabench.probes.explosion import growth, stable
from metabench.probes.explosion.growth import UnrollStatistics
from metabench.probes.quantile_rows import quantile
from metabench.problems.tasks import Address
from metabench.records.rows import Row, row
from metabench.stats import paired_estimators
from metabench.stats.moments import Moments, mean_norm_interval, skewed_variance_interval
from metabench.stats.proportions import share_interval

HERE = Path(__file__).parent
REQUIRED = 0.92, 0.99
AT = (0, 1, 2, 5, 10, 20)
STRENGTH, SLOW = 2.0, 0.2
LARGE, CHUNK = 60_000, 20_000
BATCH = 4.0
Array = NDArray[np.float64]
Key = tuple[str, str, float]  # quantity, of, at


class Setting(NamedTuple):
    """A problem, an inner rate and a sample size."""

    name: str
    family: Quadratic
    rate: float
    tasks: int


MILD = Quadratic(dim=6, shots=3, queries=3, jitter=0.6)
SETTINGS = (
    Setting("fading", MILD, 0.4, 128),
    Setting("mixed", Quadratic(dim=3, condition=2, shots=2, queries=3, jitter=0.8), 1.6, 128),
    Setting("exploding", Quadratic(dim=2, condition=1.5, shots=2, jitter=0.5), 2.4, 64),
    Setting("one dimension", Quadratic(dim=1, shots=4, queries=2, jitter=0.9, noise=2.0), 0.7, 32),
)


class Forms(NamedTuple):
    """Closed forms of T tasks: curvature and minimum of support and query, `(T, P)` each."""

    a: Array
    z: Array
    b: Array
    y: Array
    theta: Array

    @classmethod
    def of(cls, setting: Setting, seed: int, count: int, start: int = 0) -> Forms:
        """Draw the tasks `start .. start + count - 1` of a seed."""
        family = setting.family
        tasks = family.sample(Address.fresh(start, count), seed)
        (a, z), (b, y) = ([leaf.numpy() for leaf in part] for part in (tasks.support, tasks.query))
        support, query = a.mean(1), b.mean(1)
        theta = family.theta(0).numpy()
        return cls(support, (a * z).mean(1) / support, query, (b * y).mean(1) / query, theta)

    def path(self, K: int, rate: float, strength: float = 0.0) -> tuple[Array, Array]:
        """Give phi_K and what a cotangent of it becomes at theta, by coordinates, `(T, P)` each."""
        A = self.a + strength
        least = (self.a * self.z + strength * self.theta) / A
        back = (1 - rate * A) ** K
        return least + back * (self.theta - least), back + strength / A * (1 - back)

    def gradient(self, phi: Array) -> Array:
        """Give the query gradient at phi, `(T, P)`."""
        return self.b * (phi - self.y)

    def statistics(self, rate: float) -> UnrollStatistics:
        """Give what the explosion probe would measure."""
        paths = [self.path(K, rate) for K in AT]
        norms, ends, starts = (
            np.stack([np.linalg.norm(part, axis=1) for part in parts], 1)
            for parts in (
                [back * self.gradient(phi) for phi, back in paths],
                [self.gradient(phi) for phi, _ in paths],
                [back * self.gradient(phi) for phi, back in paths],
            )
        )
        inner = np.stack([(self.a * (phi - self.z) ** 2).sum(1) / 2 for phi, _ in paths], 1)
        outer = np.stack([(self.b * (phi - self.y) ** 2).sum(1) / 2 for phi, _ in paths], 1)
        last = self.gradient(paths[-1][0])
        adjoint = np.stack(
            [np.linalg.norm((1 - rate * self.a) ** (AT[-1] - k) * last, axis=1)
             for k in range(AT[-1] + 1)], 1)  # fmt: skip
        fine = np.ones((len(self.a), AT[-1] + 1, 1), bool)
        return UnrollStatistics(AT, norms, {}, {}, ends, starts, inner, outer, adjoint, fine, fine)


def measured(setting: Setting, forms: Forms) -> list[Row]:
    """Give the rows that the probes print of these tasks, from their own statistics."""
    rate = setting.rate
    rows = growth.rows_of(forms.statistics(rate), ("phi",))
    top = np.log(np.abs(1 - rate * forms.a)).max(1)
    rows.append(quantile("exponent", top[: len(top) // 4], least=-math.inf, of="1"))
    largest = forms.a.max(1)
    rows += stable.stable_rate_rows(largest, 2.0, rate)
    rows.append(row("unstable", share_interval(_unstable(forms, rate), len(largest)), of="rate"))
    phi, back = forms.path(5, SLOW, STRENGTH)
    unrolled, first = back * forms.gradient(phi), forms.gradient(phi)
    phi, _ = forms.path(2000, SLOW, STRENGTH)
    best = STRENGTH / (forms.a + STRENGTH) * forms.gradient(phi)
    for name, grads in (("unrolled", unrolled), ("first order", first)):
        rows += compare.comparison_rows(grads, best, 5, name, "")
    phi, back = forms.path(5, SLOW)
    own, gap = (
        Moments.from_samples(g) for g in (forms.gradient(phi), forms.gradient(phi) * (1 - back))
    )
    exact = Moments.from_samples(back * forms.gradient(phi))
    rows += [
        row("variance", skewed_variance_interval(own)),
        row("bias", mean_norm_interval(gap)),
        row(
            "mse",
            paired_estimators.squared_error(own, gap, BATCH, spread_of=skewed_variance_interval),
        ),
        row("break_even", paired_estimators.break_even(exact, own, gap)),
    ]
    return rows


def _unstable(forms: Forms, rate: float) -> int:
    return int((np.abs(1 - rate * forms.a) > 1).any(1).sum())


class Truth(NamedTuple):
    """Means and quantiles over a large sample of other tasks."""

    rows: dict[Key, Row]

    @classmethod
    def of(cls, setting: Setting) -> Truth:
        """Measure the large sample once: its point estimates are the truth."""
        parts = [Forms.of(setting, 10**9, CHUNK, at) for at in range(0, LARGE, CHUNK)]
        joined = [np.concatenate(each) for each in list(zip(*parts, strict=True))[:4]]
        whole = Forms(joined[0], joined[1], joined[2], joined[3], parts[0].theta)
        found = {key(line): line for line in measured(setting, whole)}
        return cls(found)


def key(line: Row) -> Key:
    """Name a row."""
    return line.quantity, line.of, -1.0 if line.at is None else float(line.at)


def covered(setting: Setting, truth: Truth, seed: int) -> Iterator[tuple[Key, bool, bool]]:
    """Yield each interval's key, whether it holds the truth, and whether both ends are bounded."""
    for line in measured(setting, Forms.of(setting, seed, setting.tasks)):
        other = truth.rows.get(key(line))
        if line.value is None or other is None or other.value is None or line.low is None:
            continue
        if line.quantity == "diverged" or line.low == line.high == other.value:
            continue  # nothing varies: |v_K| / |v_K|, a share that is zero by construction
        high = math.inf if line.high is None else line.high
        slack = 1e-9 * abs(other.value)
        yield key(line), line.low - slack <= other.value <= high + slack, math.isfinite(high)


@click.command(help=__doc__)
@click.option("--repetitions", default=1000, show_default=True, help="Samples a setting.")
def main(repetitions: int) -> None:
    """Write the table and the page."""
    lines = []
    for setting in SETTINGS:
        truth = Truth.of(setting)
        outcomes: dict[Key, list[tuple[bool, bool]]] = {}
        for seed in range(1, repetitions + 1):
            for name, hit, bounded in covered(setting, truth, seed):
                outcomes.setdefault(name, []).append((hit, bounded))
        for (quantity, of, at), hits in outcomes.items():
            share = share_interval(sum(hit for hit, _ in hits), len(hits))
            lines.append((setting.name, setting.tasks, quantity, of, at if at >= 0 else None,
                          len(hits), *share, np.mean([b for _, b in hits])))  # fmt: skip
    header = ["setting", "tasks", "quantity", "of", "at", "repetitions", "coverage", "low", "high",
              "bounded"]  # fmt: skip
    table = pd.DataFrame(lines, columns=header)
    table.to_csv(HERE / "coverage.csv", index=False, float_format="%.4g")
    (HERE / "coverage.md").write_text(page(table, repetitions), encoding="utf-8")
    click.echo(page(table, repetitions))


def page(table: pd.DataFrame, repetitions: int) -> str:
    """Say how many lie within what is required, and which don't."""
    low, high = REQUIRED
    fine, scant = table["coverage"].between(low, high), table["coverage"] < low
    by = table.groupby("quantity")["coverage"].agg(["count", "min", "median", "max"])
    words = [
        "# Coverage of the intervals of explosion, agreement and cost",
        "",
        f"`python reports/paths_calibration/run.py --repetitions {repetitions}`",
        "",
        f"{fine.sum()} of {len(table)} intervals that are meant to cover 95 % lie within "
        f"[{low:.0%}, {high:.0%}]; {scant.sum()} cover less, {(~fine & ~scant).sum()} more. "
        "More is by construction: order statistics of a few dozen tasks can't come closer to a "
        "level, nor can exact binomial limits near a share of 0 or 1; what is the same number for "
        "nearly every task is always held; and a cosine of 1 is the end of its scale.",
        "",
        "| quantity | intervals | least | median | most |",
        "|---|---|---|---|---|",
        *(f"| {name} | {int(r['count'])} | {r['min']:.3f} | {r['median']:.3f} | {r['max']:.3f} |"
          for name, r in by.iterrows()),
        "",
        "Outside, those that cover less first:",
        "",
        "| setting | tasks | quantity | of | at | coverage | bounded |",
        "|---|---|---|---|---|---|---|",
        *(f"| {r.setting} | {r.tasks} | {r.quantity} | {r.of} | "
          f"{place(r.at)} | {r.coverage:.3f} "
          f"[{r.low:.3f}, {r.high:.3f}] | {r.bounded:.2f} |"
          for r in table[~fine].sort_values("coverage", kind="stable").itertuples()),
        "",
    ]  # fmt: skip
    return "\n".join(words)


def place(at: object) -> str:
    """Write where a row was measured."""
    return f"{at:g}" if isinstance(at, float) and at == at else ""


if __name__ == "__main__":
    main()
