"""Accuracy against compute, and memory against K: the shape of Rajeswaran et al. 2019, figure 2.

    python reports/imaml_figure2/run.py

runs `metabench agreement` on the sinusoid with a pull that makes the inner problem convex, on the
same tasks for every method, and writes the page, the table and the findings beside this file.
"""

from __future__ import annotations

from pathlib import Path

from metabench import IMAML, SGD, Agreement, Sinusoid, Subject, page, to_table

HERE = Path(__file__).parent
PULL, RATE = 20.0, 0.015
TASKS, STEPS = 16, (1, 2, 5, 10, 20, 40, 80)


def main() -> None:
    """Measure once, and write what is found."""
    family = Sinusoid()
    algorithm = IMAML(5, SGD(RATE), strength=PULL)
    subject = Subject(family.problem(), family.sample, algorithm, family.theta(0).float())
    probe = Agreement(tasks=TASKS, at=STEPS, budgets=(2, 5, 20), pulls=(), settle=300)
    settings = {"algo": {"name": "imaml", "strength": PULL, "step.rate": RATE}}
    settings |= {"family": {"name": "sinusoid"}}
    table = to_table(probe.measure(subject, 0), settings)
    findings = probe.diagnose(table)
    table.to_csv(HERE / "table.csv", index=False, float_format="%.5g")
    (HERE / "page.html").write_text(page(probe, table, findings, None, settings), encoding="utf-8")
    said = "\n".join(f"- **{f.level}** {f.claim}\n  - {f.repair}" for f in findings)
    (HERE / "findings.md").write_text(f"# What it says\n\n{said}\n", encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main()
