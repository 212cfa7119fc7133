"""Do the intervals of `metabench variance` cover? On quadratics, where the truth is known.

    python reports/variance_calibration/run.py --repetitions 600

runs the probe on as many independent seeds, holds every interval it prints against the closed form,
and writes `coverage.csv` and the page `coverage.md` beside this file, anew every few seeds. With
`--signal` it leaves out the redraws, which take most of the time, and writes `signal.csv` and
`signal.md`: variances, slope, noise scale and signal-to-noise alone. With `--sources` it
makes the redraws alone, and writes `sources.csv` and `sources.md`: components, shares, and what
advice on a budget predicts. With `--outer` it measures what the outer loop makes of the gradient,
clipped and as an optimizer's update, and writes `outer.csv` and `outer.md` (handed_on.py says how).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import handed_on  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pandas as pd

from metabench import (
    FOMAML,
    MAML,
    SGD,
    Address,
    Algorithm,
    Quadratic,
    Subject,
    Variance,
    Vectorization,
)
from metabench.estimation.redraws import redraws
from metabench.probes.variance import components, measure_seconds
from metabench.probes.variance.collect import gather
from metabench.problems.quadratic_moments import Truth, gaussian_top_share
from metabench.records.rows import Row
from metabench.stats import two_stage_sampling, variance_components
from metabench.stats.proportions import share_interval
from metabench.stats.tail_index import TOP
from metabench.stats.two_stage_sampling import Plan

HERE = Path(__file__).parent
REQUIRED = 0.92, 0.99
PLANS = Plan(10, 1), Plan(5, 4)  # whose variance is predicted
TOGETHER = 20  # repetitions that are computed at once where only redraws are asked for
EVERY = 20  # seeds between two versions of the tables
FEWEST = 500  # intervals of each kind; some are printed only where a mean is resolved
LONGEST = 4  # times as many seeds, at most, until there are so many
SECONDS = {"maml": 1.0, "fomaml": 0.4}  # what a task is taken to cost, so that the truth is known
BREAK_EVEN = "break_even", "break_even_seconds"
Key = tuple[str, str, float]  # quantity, of, at
Outcomes = dict[Key, list[tuple[bool, bool]]]  # (holds the truth, is bounded)


class Setting(NamedTuple):
    """A problem, an estimator and a sample size whose intervals are checked."""

    name: str
    family: Quadratic
    algorithm: Algorithm
    tasks: int
    sizes: tuple[int, ...] = (1, 4, 16)
    redrawn_tasks: int = 512
    shot_multiples: int = 0

    def truth(self, exact: bool = False, steps: int | None = None, times: int = 1) -> Truth:
        """Exact moments at the theta that every repetition uses."""
        return _truth(self, exact, steps, times)

    def approximation(self) -> Truth:
        """Exact moments of the estimator that this one is held against."""
        other = MAML if isinstance(self.algorithm, FOMAML) else FOMAML
        algorithm = other(
            self.algorithm.steps, self.algorithm.inner_optimizer, self.algorithm.batch
        )
        return self._replace(algorithm=algorithm).truth()


@cache
def _truth(setting: Setting, exact: bool, steps: int | None, times: int) -> Truth:
    algorithm, theta = setting.algorithm, setting.family.theta(0)
    first_order = isinstance(algorithm, FOMAML) and not exact
    steps = algorithm.steps if steps is None else steps
    batch = algorithm.batch if times == 1 and steps else 0
    family = replace(setting.family, shots=setting.family.shots * times)
    truth: Truth = family.truth(theta, steps, algorithm.inner_optimizer.rate, first_order, batch)
    return truth


SMALL = Quadratic(dim=8, shots=3, queries=3)
WILD = Quadratic(dim=6, shots=2, queries=4, jitter=0.9, offset=2.0, spread=0.5, noise=0.5)
ROUND = Quadratic(dim=4, shots=3, queries=3, condition=1.0, jitter=0.0)
HEAVY = Quadratic(dim=8, shots=3, queries=3, noise=0.1, tail=1.5)
SETTINGS = (
    Setting("strong signal", SMALL, MAML(1, SGD(rate=0.1)), 512, redrawn_tasks=128),
    Setting("five steps", SMALL, MAML(5, SGD(rate=0.3)), 1024, (1, 16), redrawn_tasks=128),
    Setting("weak signal", replace(SMALL, offset=0.2), MAML(1, SGD(rate=0.1)), 1024, (1, 4), 128),
    Setting("few tasks", SMALL, FOMAML(1, SGD(rate=0.1)), 128, (1, 2, 8)),
    Setting("two dimensions", replace(SMALL, dim=2), MAML(3, SGD(rate=0.5)), 512, (1, 4), 128, 8),
    Setting("biased", WILD, FOMAML(2, SGD(rate=0.7)), 512, (1,), 256, 16),
    Setting("amplifying", replace(SMALL, offset=1.0), FOMAML(1, SGD(rate=2.4)), 1024, (1,), 512),
    Setting("mini-batches", replace(WILD, shots=4), MAML(1, SGD(rate=0.7), 2), 512, (1,), 256),
    Setting("isotropic", ROUND, MAML(1, SGD(rate=0.3)), 4096, (1,), redrawn_tasks=0),
    Setting("heavy tail", HEAVY, MAML(1, SGD(rate=0.1)), 2048, (1,), redrawn_tasks=0),
)


def expected(setting: Setting, row: Row) -> float | None:
    """Give what a row should hold, or None where it claims no interval or has no closed form."""
    if setting.family.tail <= 2 and row.quantity != "tail_index":
        return None  # there is no variance, and nearly always none is printed
    if row.quantity == "tail_index":
        return setting.family.tail if setting.family.tail < np.inf else None
    if row.quantity == "top_share":
        round_ = setting.family.condition == 1 and setting.family.jitter == 0
        return gaussian_top_share(setting.family.dim, TOP) if round_ else None
    if row.quantity in ("bias", "cosine", "mse", "mse_same_seconds", *BREAK_EVEN):
        return _of_two(setting, row)
    truth, B = setting.truth(), row.at or 1.0
    return {
        "variance": truth.variance / B,
        "snr": B / truth.noise_scale,
        "task_variance": truth.variance,
        "mean_norm_squared": truth.mean_norm_squared,
        "noise_scale": truth.noise_scale,
        "slope": -1.0,
        "component": truth.components.get(row.of),
        "share": truth.components.get(row.of, 0.0) / truth.variance,
        "amplification": truth.variance / setting.truth(steps=0).variance,
    }.get(row.quantity)


def _of_two(setting: Setting, row: Row) -> float | None:
    """Give what a row that compares two estimators, or two objectives, should hold."""
    own, other, exact = setting.truth(), setting.approximation(), setting.truth(exact=True)
    bias = float(((own.mean - other.mean) ** 2).sum())
    first_order = isinstance(setting.algorithm, FOMAML)
    variances = {"fomaml": other.variance, "maml": own.variance}
    if first_order:
        variances = {"fomaml": own.variance, "maml": other.variance}
    timed = row.quantity.endswith("_seconds")
    if row.quantity.startswith("mse"):
        B = (row.at or 1.0) * (SECONDS["maml"] / SECONDS[row.of] if timed else 1.0)
        return (bias if row.of == "fomaml" else 0.0) + variances[row.of] / B
    if row.quantity in BREAK_EVEN:
        cost = SECONDS if timed else dict.fromkeys(SECONDS, 1.0)
        excess = cost["maml"] * variances["maml"] - cost["fomaml"] * variances["fomaml"]
        # zero is the least that it can be: intervals of 95 % that begin there hold it more often
        return excess / bias if excess > 0 else None
    if row.quantity == "cosine":
        norms = np.linalg.norm(own.mean) * np.linalg.norm(other.mean)
        return float(own.mean @ other.mean / norms)
    if row.of == "estimator":
        return bias
    limit = setting.family.many_shot(
        setting.family.theta(0), setting.algorithm.steps, setting.algorithm.inner_optimizer.rate
    )
    m = int(row.at or 1)
    mean = exact.mean if m == 1 else setting.truth(exact=True, times=m).mean
    return float(((mean - limit) ** 2).sum())


def covered(setting: Setting, seed: int) -> Iterator[tuple[Key, bool, bool]]:
    """Yield each interval's key, whether it holds the truth, and whether it is bounded."""
    family = setting.family
    compute = Vectorization(chunk=setting.tasks)
    subject = Subject(family.problem(), family.sample, setting.algorithm, family.theta(0), compute)
    again = {
        "redrawn_tasks": setting.redrawn_tasks,
        "shot_multiples": setting.shot_multiples,
        "memory": "1GiB",
    }
    probe = Variance(setting.tasks, sizes=setting.sizes, **again)
    for line in probe.measure(subject, seed):
        value = None if line.low is None else expected(setting, line)
        if value is None or line.low is None:
            continue
        high = float("inf") if line.high is None else line.high
        key = line.quantity, line.of, line.at or 0.0
        # a truth of exactly zero may be met by an interval that ends there
        yield key, line.low - 1e-12 <= value <= high + 1e-12, line.high is not None


def covered_sources(setting: Setting, seed: int) -> Iterator[tuple[Key, bool, bool]]:
    """Yield the same of components, shares, and the predicted variances of two plans.

    A seed's tasks stand for `TOGETHER` repetitions, each with tasks of its own.
    """
    family, again, truth = (
        setting.family,
        min(setting.redrawn_tasks, setting.tasks // 2),
        setting.truth(),
    )
    compute = Vectorization(chunk=2**14)
    subject = Subject(family.problem(), family.sample, setting.algorithm, family.theta(0), compute)
    states = redraws(subject, seed)
    design = components.redraw_design(again, states)
    whole = components.crossed(design._replace(tasks=again * TOGETHER))
    sample = gather(subject, whole, seed, 1, 2**30, _nothing).columns(0, family.dim)
    for part in np.split(sample, TOGETHER):
        found = variance_components.components(
            variance_components.Squares.from_samples(part, design), design
        )
        for line in components.rows(found, states, ""):
            value = None if line.low is None else expected(setting, line)
            if value is not None and line.low is not None and line.high is not None:
                yield (line.quantity, line.of, 0.0), line.low <= value <= line.high, True
        between, within = found["task"], found["total"] + found["task"].scaled(-1)
        task = truth.components["task"]
        for plan in PLANS:
            predicted = two_stage_sampling.plan_variance(between, within, plan).skewed()
            value = (task + (truth.variance - task) / plan.draws) / plan.tasks
            if predicted.low == predicted.low:  # not NaN: enough tasks for an interval
                key = "advised_variance", "foretold", float(plan.draws)
                yield key, predicted.low <= value <= predicted.high, True


def _nothing(done: int) -> None:
    """Show no progress."""


def summary(setting: Setting, seen: Outcomes) -> list[dict[str, object]]:
    """Give the coverage of every interval in one setting, a line each."""
    lines: list[dict[str, object]] = []
    for (quantity, of, at), outcomes in seen.items():
        share = share_interval(sum(hit for hit, _ in outcomes), len(outcomes))
        bounded = sum(bounded for _, bounded in outcomes) / len(outcomes)
        lines.append(
            {
                "setting": setting.name, "tasks": setting.tasks, "quantity": quantity, "of": of,
                "at": at, "intervals": len(outcomes), "bounded": bounded,
                "coverage": share.value, "low": share.low, "high": share.high,
            }
        )  # fmt: skip
    return lines


def study(
    seeds: range,
    settings: tuple[Setting, ...] = SETTINGS,
    measure_coverage: Callable[[Setting, int], Iterator[tuple[Key, bool, bool]]] = covered,
) -> Iterator[pd.DataFrame]:
    """Yield the coverage of every interval so far, every few seeds, all settings alike."""
    seen: dict[str, Outcomes] = {setting.name: {} for setting in settings}
    measure_seconds.seconds_taken = _told  # measured seconds would have no truth
    for done in range(1, LONGEST * len(seeds) + 1):
        open_ = [s for s in settings if done <= len(seeds) or _scarce(seen[s.name], len(seeds))]
        for setting in open_:
            for key, hit, bounded in measure_coverage(setting, seeds.start + done - 1):
                seen[setting.name].setdefault(key, []).append((hit, bounded))
        if done % EVERY == 0 or done == len(seeds) or not open_:
            click.echo(f"{done} of {len(seeds)}", err=True)
            yield pd.DataFrame([line for s in settings for line in summary(s, seen[s.name])])
        if not open_:
            return


def _scarce(outcomes: Outcomes, asked: int) -> bool:
    """Say whether a kind of interval was printed too seldom to judge, where many are asked for."""
    return asked >= FEWEST and min(map(len, outcomes.values())) < FEWEST


def _told(subject: Subject, address: Address, seed: int, size: int) -> float:
    """Give the seconds that `size` tasks are taken to cost."""
    return size * SECONDS["fomaml" if isinstance(subject.algorithm, FOMAML) else "maml"]


def page(table: pd.DataFrame, command: str) -> str:
    """Give the page: what holds, what doesn't, and the coverage of each kind of number."""
    outside = table[(table["coverage"] < REQUIRED[0]) | (table["coverage"] > REQUIRED[1])]
    grouped = table.groupby(["quantity", "of"], sort=False)["coverage"]
    kinds = grouped.agg(["count", "min", "median", "max"]).reset_index()
    least, most = table["intervals"].min(), table["intervals"].max()
    return f"""# How often do the intervals of `metabench variance` hold the truth?

Made by `python reports/variance_calibration/run.py {command}` on quadratics,
where the truth is a closed form. Every interval is a 95 % interval; it should cover within
[{REQUIRED[0]:.0%}, {REQUIRED[1]:.0%}].

{len(table) - len(outside)} of {len(table)} kinds of interval, over {least} to {most} repetitions
each, do. Outside:

{_markdown(outside[["setting", "tasks", "quantity", "of", "at", "intervals", "coverage"]])}

By quantity, over settings and sizes:

{_markdown(kinds)}
"""


def _markdown(table: pd.DataFrame) -> str:
    """Write a table in Markdown, numbers to three digits."""
    if table.empty:
        return "none"
    cells = [[f"{x:.3g}" if isinstance(x, float) else str(x) for x in line]
             for line in table.itertuples(index=False)]  # fmt: skip
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@click.command()
@click.option("--repetitions", default=600, show_default=True, help="Seeds a setting.")
@click.option("--first", default=1, show_default=True, help="The first seed.")
@click.option("--signal", is_flag=True, help="Without redraws: no components, no biases.")
@click.option("--sources", is_flag=True, help="Redraws alone: components, shares, advice.")
@click.option("--outer", is_flag=True, help="The gradient as clipped, and an optimizer's updates.")
def main(repetitions: int, first: int, signal: bool, sources: bool, outer: bool) -> None:
    """Run the study and write its tables."""
    settings: tuple[Setting, ...] = SETTINGS
    name, command = "coverage", f"--repetitions {repetitions}"
    if signal:
        settings = tuple(s._replace(redrawn_tasks=0, shot_multiples=0) for s in SETTINGS[:5])
        name, command = "signal", f"{command} --signal"
    measure_coverage = covered
    if sources:
        settings, measure_coverage = tuple(s for s in SETTINGS if s.redrawn_tasks), covered_sources
        name, command = "sources", f"{command} --sources"
    if outer:
        settings, measure_coverage = tuple(handed_on.SETTINGS), handed_on.covered
        name, command = "outer", f"{command} --outer"
    table = pd.DataFrame()
    seeds = repetitions // TOGETHER if sources else repetitions
    for table in study(range(first, first + seeds), settings, measure_coverage):
        table.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4f")
        (HERE / f"{name}.md").write_text(page(table, command), encoding="utf-8")
    outside = table[(table["coverage"] < REQUIRED[0]) | (table["coverage"] > REQUIRED[1])]
    sys.exit(1 if len(outside) else 0)


if __name__ == "__main__":
    main()
