"""Does every interval that a probe prints have a measured coverage? All studies, in one table.

    python reports/calibration/run.py             # from the committed tables of the studies
    python reports/calibration/run.py --measure   # measures them all anew first: hours

runs every probe once on its default problem, small, to see which quantities come with an interval,
and writes `README.md` beside this file: of each quantity the coverage that the studies measured,
and what is printed without one. It fails if anything is.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd
import torch

import metabench as mb
from metabench.diagnosis.trial import Trial
from metabench.probes.base import Probe

HERE = Path(__file__).parent
REPORTS = HERE.parent
REQUIRED = 0.92, 0.99
RARE = 0.05  # of the samples: what is printed less often is withheld, but for errors of that rule
Kind = tuple[str, str]  # probe and quantity
COLUMNS = ["probe", "setting", "quantity", "of", "at"]  # that name an interval


class Study(NamedTuple):
    """One study: its folder, its tables and the command that makes them."""

    folder: str
    tables: tuple[str, ...]
    options: str

    @property
    def command(self) -> str:
        """The command, from the root of the repository."""
        return f"python reports/{self.folder}/run.py {self.options}"


STUDIES = (
    Study("variance_calibration", ("coverage.csv",), "--repetitions 600"),
    Study("variance_calibration", ("outer.csv",), "--repetitions 1000 --outer"),
    Study("variance_calibration", ("sources.csv",), "--repetitions 600 --sources"),
    Study("paths_calibration", ("coverage.csv",), "--repetitions 500"),
    Study("spectrum_calibration", ("coverage.csv",), "--repetitions 500"),
    Study("constants_calibration", ("coverage.csv",), "--repetitions 500"),
    Study("probes_calibration", ("coverage.csv",), "--repetitions 300"),
)
PATHS = {  # whose quantities the study of paths holds
    "agreement": ("error", "cosine", "norm_ratio"),
    "cost": ("variance", "bias", "mse", "break_even"),
}
# An interval by other means where it stands for an expectation, not for a quantile over tasks.
EXPECTED = "of an expected Hessian"
BRACKETS = {("constants", "iterations")}  # bounds from two evaluated steps
OVER_TASKS = ("largest_over_tasks", "smallest_over_tasks")  # drawn; the quantiles printed, finer


def measured() -> pd.DataFrame:
    """Join the tables of all studies, with the share of samples that printed each interval."""
    parts = []
    for study in STUDIES:
        for name in study.tables:
            table = pd.read_csv(REPORTS / study.folder / name, keep_default_na=False)
            table = table.rename(columns={"intervals": "repetitions"})
            if "probe" not in table:
                owner = study.folder.removesuffix("_calibration")
                table["probe"] = [_owner(owner, quantity) for quantity in table["quantity"]]
            table["quantity"] = list(map(_named, table["quantity"], table["of"], table["probe"]))
            table["study"] = study.command
            table["setting"] = table.get("setting", table.get("spectra", "quadratic"))
            table["at"] = table.get("at", "")
            numbers = ["coverage", "low", "high", "repetitions"]
            table[numbers] = table[numbers].astype(float)
            samples = table.groupby(["probe", "setting"])["repetitions"].transform("max")
            table["printed"] = table["repetitions"] / samples
            table["wrong"] = table["printed"] * (1 - table["coverage"])
            parts.append(table[[*COLUMNS, *numbers, "printed", "wrong", "study"]])
    return pd.concat(parts, ignore_index=True)


def _owner(owner: str, quantity: str) -> str:
    if owner != "paths":
        return owner
    return next((probe for probe, names in PATHS.items() if quantity in names), "explosion")


def _named(quantity: str, of: str, probe: str) -> str:
    """Tell the ends of an expected Hessian from quantiles over tasks."""
    expected = probe == "spectrum" and of in ("mean", "meta")
    return f"{quantity} {EXPECTED}" if expected else quantity


def printed() -> dict[Kind, int]:
    """Count the rows with an interval that each probe gives, small, of the default problem."""
    torch.set_num_threads(1)
    family, step = mb.Sinusoid(), mb.SGD(0.01)
    few = {"tasks": 16}
    adam = mb.Adam(0.01)
    runs: list[tuple[Probe, mb.Algorithm]] = [
        (mb.Verify(), mb.MAML(1, step)),
        (mb.Variance(tasks=512, redrawn_tasks=128), mb.MAML(1, step)),
        (mb.Variance(tasks=512, redrawn_tasks=128, clip_norm=5.0), mb.FOMAML(2, step)),
        (mb.Spectrum(**few, meta=8), mb.MAML(1, step)),
        (mb.Spectrum(**few, meta=0), mb.MAML(2, adam)),
        (mb.Spectrum(**few, meta=0), mb.IMAML(2, step)),
        (mb.Explosion(**few, steps=10, mitigated=4), mb.MAML(1, step)),
        (mb.Agreement(tasks=8, at=(1,), minimum_steps=10, rounds=1), mb.MAML(1, step)),
        (
            mb.Agreement(tasks=8, at=(1,), minimum_steps=10, rounds=1, proximal_strength=20.0),
            mb.MAML(1, step),
        ),
        (mb.Constants(tasks=128, hessians=8, run=5), mb.MAML(1, step)),
        (mb.Cost(tasks=16, steps=(1,), sizes=(1, 4)), mb.MAML(1, step)),
        (Trial(changes=("algo.inner_optimizer.rate=0.02",), steps=1, repeats=4), mb.MAML(1, step)),
    ]
    counts: dict[Kind, int] = {}
    for probe, algorithm in runs:
        theta = family.theta(0).float()
        subject = mb.Subject(family.problem(), family.sample, algorithm, theta)
        name = type(probe).__name__.lower()
        name = "diagnose" if name == "trial" else name
        for row in probe.measure(subject, 0):
            if row.low is None and row.high is None:
                continue
            kind = name, _named(row.quantity, row.of, name)
            if row.quantity in OVER_TASKS or kind in BRACKETS:
                continue
            counts[kind] = counts.get(kind, 0) + 1
    return counts


@click.command(help=__doc__)
@click.option("--measure", is_flag=True, help="Run every study first.")
def main(measure: bool) -> None:
    """Write the page; exit 1 if an interval is printed whose coverage nobody measured."""
    for study in STUDIES if measure else ():
        command = [sys.executable, *shlex.split(study.command)[1:]]
        subprocess.run(command, check=True, cwd=REPORTS.parent)
    table, kinds = measured(), printed()
    known = set(zip(table["probe"], table["quantity"], strict=True))
    missing = sorted(kind for kind in kinds if kind not in known)
    (HERE / "README.md").write_text(page(table, kinds, missing), encoding="utf-8")
    click.echo((HERE / "README.md").read_text(encoding="utf-8"))
    sys.exit(bool(missing))


def page(table: pd.DataFrame, kinds: dict[Kind, int], missing: list[Kind]) -> str:
    """Lay the coverage of every quantity out, probe by probe, and what is outside."""
    low, high = REQUIRED
    rare = table["printed"] < RARE
    fine, scant = table["coverage"].between(low, high), table["coverage"] < low
    words = [
        "# Which intervals cover, of every probe",
        "",
        "`python reports/calibration/run.py` wrote this page from the tables of its studies, and "
        "looked at what every probe prints with an interval on its default problem; `--measure` "
        "runs the studies themselves anew. An interval is meant to cover 95 %, and asked to cover "
        f"within [{low:.0%}, {high:.0%}].",
        "",
        f"{len(kinds)} quantities are printed with intervals, {len(kinds) - len(missing)} of them "
        f"with a measured coverage. Over all settings {len(table)} intervals were followed: "
        f"{(fine & ~rare).sum()} lie inside, {(scant & ~rare).sum()} cover less, "
        f"{(~fine & ~scant & ~rare).sum()} more, and {rare.sum()} were withheld in more than "
        f"{1 - RARE:.0%} of the samples.",
        "",
        "More is by construction: order statistics and exact binomial limits can't come closer to "
        "a level than their ranks, ends of a scale (a cosine of 1, a share of 0) are always held, "
        "and limits that bracket a quantity from both sides add their margins.",
        "",
    ]
    if missing:
        words += ["Printed, and measured by no study: " + ", ".join(map(" ".join, missing)), ""]
    words += [*_short(table[scant & ~rare]), *_withheld(table[rare])]
    for probe in dict.fromkeys(table["probe"]):
        words += _section(probe, table[table["probe"] == probe])
    words += [
        "`verify` prints relative errors of single tasks, no estimates: it has no intervals. "
        "Lipschitz constants are lower bounds, and said to be; `iterations` lies between two "
        "looks at one walk. The finer quantiles over tasks that `spectrum` draws are those of its "
        "table at more levels.",
        "",
    ]
    return "\n".join(words)


def _section(probe: str, part: pd.DataFrame) -> list[str]:
    """Lay out one probe: coverages of what isn't withheld nearly always."""
    words = [f"## {probe}", ""]
    words += ["| quantity | intervals | repetitions | least | median | most | less than 92 % |"]
    words += ["|---|---|---|---|---|---|---|"]
    for name, every in part.groupby("quantity", sort=False):
        each = every[every["printed"] >= RARE]
        if each.empty:
            each = every
        cover, least = each["coverage"], each["repetitions"].min()
        words.append(
            f"| {name} | {len(each)} | {least:.0f} or more | {cover.min():.3f} "
            f"| {cover.median():.3f} | {cover.max():.3f} | {(cover < REQUIRED[0]).sum()} |"
        )
    return [*words, "", "By " + ", ".join(f"`{each}`" for each in dict.fromkeys(part["study"])), ""]


def _short(part: pd.DataFrame) -> list[str]:
    """List what covers less than asked."""
    if part.empty:
        return []
    words = [
        "Those that cover less. `printed` is the share of samples with the interval, `wrong` that "
        "of samples with one that misses: an interval that is printed only where a sample resolves "
        "its quantity misses more often among the few that do.",
        "",
        "| probe | setting | quantity | of | at | coverage | printed | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in part.sort_values(["probe", "coverage"], kind="stable").to_dict("records"):
        cells = [r["probe"], r["setting"], r["quantity"], r["of"], r["at"],
                 f"{r['coverage']:.3f} [{r['low']:.3f}, {r['high']:.3f}]",
                 f"{r['printed']:.0%}", f"{r['wrong']:.1%}"]  # fmt: skip
        words.append("| " + " | ".join(map(str, cells)) + " |")
    return [*words, ""]


def _withheld(part: pd.DataFrame) -> list[str]:
    """Say what rules of withholding let through."""
    if part.empty:
        return []
    kinds = dict.fromkeys(f"{r.probe} {r.quantity}" for r in part.itertuples())
    return [
        f"What was withheld in more than {1 - RARE:.0%} of the samples of a setting has no "
        "coverage to speak of there: rules of withholding, such as that on heavy tails, err now "
        f"and then. In the worst of these settings {part['wrong'].max():.1%} of all samples print "
        f"an interval that misses. Of: {', '.join(kinds)}.",
        "",
    ]


if __name__ == "__main__":
    main()
