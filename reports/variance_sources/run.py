"""Where does MAML's noise come from on the sinusoid and on digits, before and after training?

    python reports/variance_sources/run.py

trains theta by MAML with Adam outside, measures the variance at the initial and at the trained
theta, and writes `findings.md`, `table.csv` and, for the first seed, a page a cell, all beside
this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pandas as pd
import torch
from torch import Tensor

from metabench import (
    MAML,
    SGD,
    Address,
    Algorithm,
    Digits,
    Family,
    Lift,
    Sinusoid,
    Subject,
    Variance,
    page,
    to_table,
)
from metabench.report.text import cell
from metabench.rows import Finding, from_table

HERE = Path(__file__).parent
BATCH = 25
TRAINING = 1000  # added to the seed of what theta is trained on
SHOWN = ("task", "support", "query", "support x query", "label")


class Case(NamedTuple):
    """A family with its algorithm, the outer steps it is trained for, and tasks to measure on."""

    name: str
    family: Family
    algorithm: Algorithm
    outer_steps: int
    tasks: int


CASES = (
    Case("sinusoid", Sinusoid(), MAML(steps=1, step=SGD(rate=0.01)), 1500, 4096),
    Case("digits", Digits(filters=8), MAML(steps=1, step=SGD(rate=0.4)), 200, 256),
)


def subject(case: Case, theta: Tensor) -> Subject:
    """Look at the case at a theta."""
    return Subject(case.family.problem(), case.family.sample, case.algorithm, theta, Lift())


def trained(case: Case, theta: Tensor, seed: int) -> tuple[Tensor, float, float]:
    """Take outer Adam steps on fresh tasks; give theta and the mean query loss at both ends."""
    at = theta.clone()
    optimiser, losses = torch.optim.Adam([at], lr=1e-3), []
    look = subject(case, at)
    for step in range(case.outer_steps):
        address = Address.fresh(step * BATCH, BATCH)
        found = look.at(at.detach()).meta_gradients(address, TRAINING + seed)
        at.grad = found.grad.mean(0)
        optimiser.step()
        losses.append(float(found.loss.mean()))
    few = max(case.outer_steps // 20, 1)
    return at, sum(losses[:few]) / few, sum(losses[-few:]) / few


def study(seeds: range) -> Iterator[tuple[str, pd.DataFrame, list[Finding]]]:
    """Yield each cell's title, table and findings; write a page a cell of the first seed."""
    for seed, case in ((seed, case) for seed in seeds for case in CASES):
        theta = case.family.theta(seed).float()
        after, first, last = trained(case, theta, seed)
        words = f"after {case.outer_steps} outer steps (query loss {first:.3g} to {last:.3g})"
        for when, at, told in (("initial", theta, "initial theta"), ("trained", after, words)):
            probe = Variance(tasks=case.tasks, batch=BATCH, memory="2GiB")
            rows = probe.measure(subject(case, at), seed)
            table = to_table(rows, {"case": case.name, "theta": when, "seed": seed})
            findings = probe.diagnose(table)
            if seed == seeds[0]:
                document = page(probe, table, findings)
                (HERE / f"{case.name}_{when}.html").write_text(document, encoding="utf-8")
            yield f"{case.name}, {told}, seed {seed}", table, findings


def text(title: str, findings: list[Finding]) -> str:
    """Write one cell's findings in Markdown."""
    lines = [
        f"- **{f.level}, {f.name.replace('_', ' ')}.** {f.claim} *{f.repair}*" for f in findings
    ]
    return "\n".join([f"## {title}", "", *lines, ""])


def overview(tables: list[pd.DataFrame]) -> str:
    """Put all cells side by side: the noise scale, and the share of each source."""
    lines = [["case", "theta", "seed", "noise scale", *SHOWN], ["---"] * (4 + len(SHOWN))]
    for table in tables:
        (scale,) = from_table(table, "noise_scale")
        shares = {r.of: r for r in from_table(table, "share", of=None)}
        told = [str(table[name].iloc[0]) for name in ("case", "theta", "seed")]
        numbers = [cell(scale), *(cell(shares.get(source)) for source in SHOWN)]
        lines.append([*told, *numbers])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@click.command()
@click.option("--seeds", default=2, show_default=True, help="Seeds of theta, tasks and training.")
def main(seeds: int) -> None:
    """Run the study and write its files, anew after each cell."""
    made = f"Made by `python reports/variance_sources/run.py --seeds {seeds}`; B = {BATCH}."
    parts: list[str] = []
    tables: list[pd.DataFrame] = []
    for title, table, findings in study(range(seeds)):
        click.echo(title, err=True)
        parts.append(text(title, findings))
        tables.append(table)
        head = f"# Where does MAML's noise come from?\n\n{made}\n\n{overview(tables)}"
        (HERE / "findings.md").write_text("\n".join([head, *parts]), encoding="utf-8")
        pd.concat(tables).to_csv(HERE / "table.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
