"""Do the intervals of whole probes cover, on a small network and on bowls that curve down?

    python reports/probes_calibration/run.py --repetitions 300 [--only NAME]

runs each probe on as many independent samples of tasks and holds every interval that it prints
against what the same probe finds of 20,000 other tasks, whose sampling error is a tenth or less of
the interval's (the tests hold the numbers themselves to closed forms). Writes `coverage.csv`, the
rows of what was run exchanged, and the page `coverage.md` beside this file.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import click
import numpy as np
import pandas as pd
import pools  # type: ignore[import-not-found]  # beside this file
import torch
from torch import Tensor, nn

import metabench as mb
from metabench.diagnosis.trial import Trial
from metabench.families.quadratic import Quadratic
from metabench.probes.base import Probe
from metabench.probes.cost.error import error_rows
from metabench.problems.tasks import Data
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.stats.proportions import share_interval
from metabench.stats.quantile_intervals import quantile_interval

HERE = Path(__file__).parent
REQUIRED = 0.92, 0.99
LARGE, FAR = 20_000, 10**6  # tasks of the truth, and its seed
POOL = 10_000  # tasks that samples are drawn from where the truth is that of the pool
VECTORIZATION = mb.Vectorization("vmap", chunk=1024, engine="eager")
Key = tuple[str, str, float | None, str]  # quantity, of, at, layer
Hit = tuple[bool, bool]  # whether the interval holds the truth, whether both ends are finite
Measure = Callable[[int, int], list[Row]]  # tasks and seed to rows


@dataclass(frozen=True)
class Dips(Quadratic):
    """Noisy bowls whose first coordinate curves down in some tasks."""

    down: float = 0.0  # taken off the curvature of the first coordinate [curvature]

    def problem(self) -> mb.Problem:
        """Give the bowls with the dip."""
        plain = super().problem()

        def loss(phi: Tensor, theta: Tensor, data: Data) -> Tensor:
            value: Tensor = plain.inner_loss(phi, theta, data)
            return value - 0.5 * self.down * phi[0] ** 2

        return plain._replace(inner_loss=loss, outer_loss=loss)


class Setting(NamedTuple):
    """What is measured of how many tasks."""

    name: str
    probe: str
    tasks: int
    measure: Measure
    truth: int = LARGE
    times: int = 1  # as many repetitions, where they are cheap
    at_cut: Callable[[Row], Row | None] | None = None  # the truth at a sample's own threshold


def bowls(**fields: float) -> mb.Family:
    """Give noisy bowls of three parameters."""
    plain = {"dim": 3, "condition": 2.0, "shots": 5, "queries": 5, "jitter": 0.6}
    given: dict[str, Any] = {**plain, **fields}
    return Dips(**given)


def network(algorithm: mb.Algorithm) -> mb.Subject:
    """Give a 1-3-1 tanh network on the paper's sinusoids, in float64."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    problem = mb.Problem.from_module(net, nn.functional.mse_loss)
    assert problem.theta is not None
    return mb.Subject(problem, mb.Sinusoid().sample, algorithm, problem.theta, VECTORIZATION)


def of_family(family: mb.Family, algorithm: mb.Algorithm) -> mb.Subject:
    """Give a family's tasks at its own theta, in float64."""
    return mb.Subject(family.problem(), family.sample, algorithm, family.theta(0), VECTORIZATION)


def by(probe: Probe, make: Callable[[], mb.Subject]) -> Measure:
    """Measure by a probe with a given number of tasks."""
    also = [name for name in ("meta", "hessians") if getattr(probe, name, 0)]

    def measure(tasks: int, seed: int) -> list[Row]:
        sized = type(probe)(**{**vars(probe), "tasks": tasks, **dict.fromkeys(also, tasks)})
        return sized.measure(make(), seed)

    return measure


def agreement(
    name: str, tasks: int, probe: mb.Agreement, make: Callable[[], mb.Subject]
) -> Setting:
    """Compare methods on samples of a pool of tasks."""
    return Setting(name, "agreement", tasks, pools.drawn(probe, make, POOL, FAR), POOL, 2)


def mitigated(name: str, make: Callable[[], mb.Subject]) -> Setting:
    """Try mitigations at K = 4 on samples of a pool of tasks."""
    measure = pools.Mitigated(make, 4, POOL, FAR)
    return Setting(name, "explosion", 128, measure, POOL, 2, measure.at_cut)


def overflown(tasks: int, seed: int) -> list[Row]:
    """Count what overflows float64 where all three signs of a task's one curvature are up.

    There it is 1.6, and 60 factors of 1 - 1.6 rate are 1e312; at the next, 1.2, they are 1e304.5.
    """
    chance, sizes = 1 / 8, (1, 4)
    if tasks == LARGE:
        shares = {B: 1 - (1 - chance) ** B for B in sizes}
        return [Row("diverged", at=float(B), value=share) for B, share in shares.items()]
    family = bowls(dim=1, shots=3, jitter=0.6)
    subject = of_family(family, mb.MAML(30, mb.SGD(99e3)))
    probe = mb.Variance(tasks=tasks, sizes=sizes, redrawn_tasks=0, shot_multiples=0)
    with patch("metabench.probes.variance.measure_seconds.seconds_taken", return_value=1.0):
        return [line for line in probe.measure(subject, seed) if line.quantity == "diverged"]


def cost(
    tasks: int, seed: int, rate: float = 0.4, steps: int = 2, offset: float = 0.5
) -> list[Row]:
    """Give the errors that budgets buy, at fixed seconds and bytes: clocks are no estimate."""
    step, family = mb.SGD(rate), bowls(offset=offset)
    algorithms = {"maml": mb.MAML(steps, step), "fomaml": mb.FOMAML(steps, step)}
    subjects = {name: of_family(family, each) for name, each in algorithms.items()}
    seconds = {"maml": Interval(0.02, 0.02, 0.02), "fomaml": Interval(0.01, 0.01, 0.01)}
    held = {"maml": 2.0**16, "fomaml": 2.0**14}
    return error_rows(mb.Cost(tasks=tasks), subjects, seconds, held, seed, lambda count: None)


def clocks(tasks: int, seed: int) -> list[Row]:
    """Stand in for seconds: the median of log-normal times, as `cost` brackets it."""
    times = np.random.default_rng(seed).lognormal(size=tasks)
    middle = quantile_interval(times)
    return [row(f"seconds_by_{axis}", middle, at=1.0, of="maml") for axis in "kb"]


def trial(streams: int, seed: int) -> list[Row]:
    """Try two changes on bowls; the large one has streams of its own seeds."""
    outer = ("optimizer=sgd", "rate=0.05", "batch=4")
    changes = ("algo.inner_optimizer.rate=0.3", "outer.rate=0.1")
    probe = Trial(changes=changes, steps=1, repeats=streams, held_out=16, outer=outer)
    subject = of_family(bowls(offset=1.0), mb.MAML(1, mb.SGD(0.1)))
    return probe.measure(subject, 10**4 * seed)


WALKED = mb.MAML(2, mb.SGD(0.05))


TINY = mb.Spectrum(layers=4)
LONG = mb.Explosion(steps=8, at=(1, 2, 4, 8), directions=2, mitigated=0)
SHORT = mb.Agreement(at=(1, 4), minimum_steps=60, budgets=(2,), rounds=1, truncate=2)
MINIMA = mb.Agreement(
    at=(1,), minimum_steps=7, budgets=(2,), proximal_strengths=(), rounds=1, truncate=0
)
THEORY = mb.Constants(run=0, redrawn_tasks=4)
SETTINGS = (
    Setting("network", "spectrum", 48, by(TINY, lambda: network(mb.MAML(2, mb.SGD(0.1))))),
    Setting("network, meta-Hessian", "spectrum", 96,
            pools.MetaHessians(lambda: network(mb.MAML(2, mb.SGD(0.1))), POOL, FAR), POOL, 4),
    Setting("network, Adam", "spectrum", 48,
            by(replace(TINY, meta=0), lambda: network(mb.MAML(2, mb.Adam(0.05))))),
    Setting("network, imaml", "spectrum", 48,
            by(replace(TINY, meta=0), lambda: network(mb.IMAML(2, mb.SGD(0.05))))),
    Setting("dips", "spectrum", 48,
            by(TINY, lambda: of_family(bowls(down=0.6), mb.MAML(2, mb.SGD(1.2))))),
    Setting("bowls", "spectrum", 48, by(TINY, lambda: of_family(bowls(), mb.MAML(2, mb.SGD(0.8))))),
    Setting("network", "explosion", 48, by(LONG, lambda: network(WALKED))),
    mitigated("network, mitigations", lambda: network(WALKED)),
    mitigated("bowls of many dimensions, mitigations",
              lambda: of_family(bowls(dim=30), mb.MAML(2, mb.SGD(0.3)))),
    agreement("network", 32, SHORT, lambda: network(mb.MAML(1, mb.SGD(0.05)))),
    agreement("dips", 32, replace(SHORT, proximal_strength=0.3),
              lambda: of_family(bowls(down=0.6), mb.MAML(1, mb.SGD(0.3)))),
    agreement("dips, off the center", 32, replace(SHORT, proximal_strength=0.3),
              lambda: of_family(bowls(down=0.6, offset=2.0), mb.MAML(1, mb.SGD(0.3)))),
    agreement("even bowls", 48, MINIMA,
              lambda: of_family(bowls(jitter=0.0), mb.MAML(1, mb.SGD(0.3)))),
    Setting("log-cosh", "constants", 64,
            by(THEORY, lambda: of_family(mb.LogCosh(dim=3, shots=5, queries=5),
                                         mb.MAML(1, mb.SGD(0.1)))), 8_000),
    Setting("bowls", "cost", 128, cost),
    Setting("bowls, short step", "cost", 128, partial(cost, rate=0.1), LARGE, 2),
    Setting("bowls, past the edge", "cost", 128,
            partial(cost, rate=2.4, steps=1, offset=2.0), LARGE, 2),
    Setting("overflow", "variance", 64, overflown),
    Setting("log-normal", "cost", 7, clocks, 10**6),
    Setting("bowls", "diagnose", 6, trial, 400),
)  # fmt: skip


def key(line: Row) -> Key:
    """Name a row."""
    return line.quantity, line.of, line.at, line.layer


def judged(setting: Setting, repetitions: int) -> Iterator[dict[str, object]]:
    """Yield the coverage of every interval of one setting, of clipping by rank of threshold."""
    truth = {key(line): line for line in setting.measure(setting.truth, FAR)}
    hits = _hits(setting, repetitions, truth)
    level = next((line.value for line in truth.values() if line.quantity == "level"), 0.95)
    for (quantity, of, at, layer), each in hits.items():
        share = share_interval(sum(hit for hit, _ in each), len(each))
        own = quantity.startswith("effect")  # at the level that holds for all changes
        yield {
            "probe": setting.probe, "setting": setting.name, "tasks": setting.tasks,
            "quantity": quantity, "of": of, "at": at, "layer": layer,
            "level": level if own else 0.95, "repetitions": len(each),
            "coverage": share.value, "low": share.low, "high": share.high,
            "bounded": np.mean([bounded for _, bounded in each]),
        }  # fmt: skip


def _hits(setting: Setting, repetitions: int, truth: Mapping[Key, Row]) -> dict[Key, list[Hit]]:
    hits: dict[Key, list[Hit]] = defaultdict(list)
    for seed in range(repetitions):
        ranks: dict[tuple[str, str], int] = defaultdict(int)
        for line in setting.measure(setting.tasks, seed):
            name, other = _beside(setting, line, truth, ranks)
            if other is not None and (hit := _hit(line, other)):
                hits[name].append(hit)
    return hits


def _beside(
    setting: Setting, line: Row, truth: Mapping[Key, Row], ranks: dict[tuple[str, str], int]
) -> tuple[Key, Row | None]:
    """Name a row and its truth; thresholds of clipping differ by sample, so go by their rank."""
    if not line.of.startswith("clip "):
        return key(line), truth.get(key(line))
    kind = line.of.rpartition(" ")[0]
    ranks[line.quantity, kind] += 1
    rank = ranks[line.quantity, kind]
    name = (line.quantity, f"{kind}, threshold {rank}", line.at, "")
    judged = line.low is not None and rank == 2
    return name, setting.at_cut(line) if judged and setting.at_cut else None


def _hit(line: Row, truth: Row) -> Hit | None:
    """Judge an interval; None where there is none, or a number that is the same for every task."""
    if truth.value is None or line.value is None or (line.low is None and line.high is None):
        return None
    low = -math.inf if line.low is None else line.low
    high = math.inf if line.high is None else line.high
    if low == high == truth.value:
        return None
    slack = 1e-7 * abs(truth.value)
    inside = low - slack <= truth.value <= high + slack
    return inside, math.isfinite(low) and math.isfinite(high)


@click.command(help=__doc__)
@click.option("--repetitions", default=300, show_default=True, help="Samples a setting.")
@click.option("--only", default="", help="A probe, or probe:setting.")
def main(repetitions: int, only: str) -> None:
    """Measure, and exchange those rows of the table."""
    torch.set_num_threads(1)
    path = HERE / "coverage.csv"
    table = pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame()
    probe, _, name = only.partition(":")
    for setting in SETTINGS:
        if only and (setting.probe != probe or name not in ("", setting.name)):
            continue
        begun = time.monotonic()
        found = pd.DataFrame(list(judged(setting, setting.times * repetitions)))
        if len(table):
            same = (table["probe"] == setting.probe) & (table["setting"] == setting.name)
            table = table[~same]
        table = pd.concat([table, found])
        seconds = time.monotonic() - begun
        click.echo(f"{setting.probe}, {setting.name}: {len(found)} intervals, {seconds:.0f} s")
        table.to_csv(path, index=False, float_format="%.4g")
    table = pd.read_csv(path)
    (HERE / "coverage.md").write_text(page(table, repetitions), encoding="utf-8")


def page(table: pd.DataFrame, repetitions: int) -> str:
    """Say how many lie within what is required, and which don't."""
    low, high = REQUIRED
    fine, scant = table["coverage"].between(low, high), table["coverage"] < low
    by = table.groupby(["probe", "quantity"], sort=False)["coverage"]
    lines = by.agg(["count", "min", "median", "max"])
    words = [
        "# Coverage of the intervals of whole probes",
        "",
        f"`python reports/probes_calibration/run.py --repetitions {repetitions}`",
        "",
        f"{fine.sum()} of {len(table)} intervals lie within [{low:.0%}, {high:.0%}]; "
        f"{scant.sum()} cover less, {(~fine & ~scant).sum()} more. All are meant to cover 95 %, "
        "but those of `effect` and `effect_at_once`, which hold together.",
        "",
        "| probe | quantity | intervals | least | median | most |",
        "|---|---|---|---|---|---|",
        *("| " + " | ".join(key) + f" | {int(r['count'])} | {r['min']:.3f} | {r['median']:.3f} "
          f"| {r['max']:.3f} |" for key, r in zip(lines.index, lines.to_dict("records"),
                                                  strict=True)),
        "",
        "Those that cover less:",
        "",
        "| probe | setting | tasks | quantity | of | at | layer | coverage |",
        "|---|---|---|---|---|---|---|---|",
        *(f"| {r.probe} | {r.setting} | {r.tasks} | {r.quantity} | {_blank(r.of)} | {_blank(r.at)} "
          f"| {_blank(r.layer)} | {r.coverage:.3f} [{r.low:.3f}, {r.high:.3f}] |"
          for r in table[scant].sort_values("coverage", kind="stable").itertuples()),
        "",
    ]  # fmt: skip
    return "\n".join(words)


def _blank(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:g}"
    return str(value)


if __name__ == "__main__":
    main()
