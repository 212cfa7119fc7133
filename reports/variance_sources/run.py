"""Where does MAML's noise come from on the sinusoid and on digits, before and after training?

    python reports/variance_sources/run.py

trains theta by MAML with Adam outside, measures the variance at the initial and at the trained
theta, and writes `findings.md`, `table.csv` and a page a cell beside this file.
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
from metabench.rows import Finding

HERE = Path(__file__).parent
BATCH = 25
SEED = 0


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


def trained(case: Case, theta: Tensor) -> tuple[Tensor, float, float]:
    """Take outer Adam steps on fresh tasks; give theta and the mean query loss at both ends."""
    at = theta.clone()
    optimiser, losses = torch.optim.Adam([at], lr=1e-3), []
    for step in range(case.outer_steps):
        address = Address.fresh(step * BATCH, BATCH)
        found = subject(case, at).meta_gradients(address, SEED + 1)
        at.grad = found.grad.mean(0)
        optimiser.step()
        losses.append(float(found.loss.mean()))
    few = max(case.outer_steps // 20, 1)
    return at, sum(losses[:few]) / few, sum(losses[-few:]) / few


def study() -> Iterator[tuple[str, pd.DataFrame, list[Finding]]]:
    """Yield each cell's title, table and findings, and write its page."""
    for case in CASES:
        theta = case.family.theta(SEED).float()
        after, first, last = trained(case, theta)
        words = f"after {case.outer_steps} outer steps (query loss {first:.3g} to {last:.3g})"
        for when, at, told in (("initial", theta, "initial theta"), ("trained", after, words)):
            probe = Variance(tasks=case.tasks, batch=BATCH, memory="2GiB")
            rows = probe.measure(subject(case, at), SEED)
            table = to_table(rows, {"case": case.name, "theta": when})
            findings = probe.diagnose(table)
            document = page(probe, table, findings)
            (HERE / f"{case.name}_{when}.html").write_text(document, encoding="utf-8")
            yield f"{case.name}, {told}", table, findings


def text(title: str, findings: list[Finding]) -> str:
    """Write one cell's findings in Markdown."""
    lines = [
        f"- **{f.level}, {f.name.replace('_', ' ')}.** {f.claim} *{f.repair}*" for f in findings
    ]
    return "\n".join([f"## {title}", "", *lines, ""])


@click.command()
def main() -> None:
    """Run the study and write its files."""
    made = f"Made by `python reports/variance_sources/run.py`; seed {SEED}, B = {BATCH}."
    parts, tables = [f"# Where does MAML's noise come from?\n\n{made}\n"], []
    for title, table, findings in study():
        click.echo(title, err=True)
        parts.append(text(title, findings))
        tables.append(table)
        (HERE / "findings.md").write_text("\n".join(parts), encoding="utf-8")
        pd.concat(tables).to_csv(HERE / "table.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
