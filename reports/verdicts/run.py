"""Does `verify` say only what is known, of planted faults and of awkward right gradients?

python reports/verdicts/run.py writes faults.csv, healthy.csv and page.md beside this file;
`--only WORDS` runs the cases whose names have the words, and prints what is said of each.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import metabench as mb  # ruff: ignore[module-import-not-at-top-of-file]
from metabench.records.rows import Finding  # ruff: ignore[module-import-not-at-top-of-file]
from reports.verdicts.cases import Fault, Healthy  # ruff: ignore[module-import-not-at-top-of-file]
from reports.verdicts.lists import FAULTS, HEALTHY  # ruff: ignore[module-import-not-at-top-of-file]
from reports.verdicts.page import page  # ruff: ignore[module-import-not-at-top-of-file]

SEEDS = 3
PARTS: tuple[tuple[str, tuple[Fault | Healthy, ...], int], ...] = (
    ("faults", FAULTS, 1),
    ("healthy", HEALTHY, SEEDS),
)
STATES = ("fault", "undecided", "not_looked_at", "fine")
BESIDE = ("withheld", "changed", "lower_precision", "task_")  # findings not on the gradient


class Line(NamedTuple):
    """What was said of one case."""

    name: str
    seed: int
    verdict: str  # fault, undecided, not_looked_at, fine, or raised
    named: bool  # whether the first warning names a cause of the set
    floor: str  # noise floor of what is undecided
    seconds: float  # of the processor
    said: str  # the first warning, or the first finding


def found(subject: mb.Subject) -> list[Finding]:
    """Return the findings of `verify`."""
    probe = mb.Verify()
    findings: list[Finding] = probe.find(mb.to_table(probe.measure(subject, 0)))
    return findings


def verdict(findings: Sequence[Finding]) -> tuple[str, Finding]:
    """Return what is said of the gradient, the worst first, and the finding that says it."""
    judged = [each for each in findings if not each.name.startswith(BESIDE)]
    for state in STATES:
        for each in judged:
            if each.state == state and (state != "fault" or each.level != "info"):
                return state, each
    return "not_looked_at", findings[0]


def line(case: Fault | Healthy, seed: int, show: bool) -> Line:
    """Run a case and return what was said.

    Args:
        case: the fault or healthy case.
        seed: of its network and tasks.
        show: print all findings.
    """
    begun, causes = time.process_time(), case.causes if isinstance(case, Fault) else ()
    try:
        findings = found(case.made(seed))
    except Exception as error:
        if show:
            traceback.print_exc()
        return Line(case.name, seed, "raised", False, "", 0.0, f"{type(error).__name__}: {error}")
    state, first = verdict(findings)
    if show:
        for each in findings:
            print(f"   [{each.level} {each.state}] {each.claim}\n      -> {each.repair}")
    said = f"{first.claim} {first.repair}"
    named = any(words in said for words in causes)
    floors = [row.high for row in first.evidence if row.status == "unresolved"]
    floor = ", ".join("none" if each is None else f"{each:.2g}" for each in floors)
    seconds = time.process_time() - begun
    return Line(case.name, seed, state, named, floor, round(seconds, 2), said)


def run(name: str, cases: Iterable[tuple[Fault | Healthy, int]], show: bool, keep: bool) -> None:
    """Run cases, print a line each, and write each to the table at once.

    Args:
        name: of the table.
        cases: faults or healthy cases, each with a seed.
        show: print all findings.
        keep: write the table, in which a case's old line of the seed is replaced.
    """
    for case, seed in cases:
        made = line(case, seed, show)
        told = f"{made.verdict:14} {made.named!s:6} {made.seconds:6.2f} s"
        print(f"{told}  {made.name}, seed {seed}", flush=True)
        if keep:
            others = [each for each in read(name) if key(each) != (case.name, str(seed))]
            write(HERE / f"{name}.csv", [*others, made._asdict()])


def key(each: Mapping[str, str]) -> tuple[str, str]:
    """Return what a line of a table is of."""
    return each["name"], each["seed"]


def main() -> int:
    """Run the study; 1 if a fault is called fine, not named, or a right gradient is accused."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="words of names")
    parser.add_argument("--part", default="faults,healthy")
    parser.add_argument("--missing", action="store_true", help="run what the tables lack")
    parser.add_argument("--page", action="store_true", help="write the page from the tables")
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name, every, count in PARTS:
        there = {key(each) for each in read(name)} if given.missing else set()
        seeds = range(given.first_seed, given.first_seed + count)
        cases = [(each, seed) for each in every for seed in seeds if given.only in each.name]
        cases = [each for each in cases if (each[0].name, str(each[1])) not in there]
        if name in given.part and not given.page:
            run(name, cases, bool(given.only), keep=not given.only)
    tables = [read(name) for name, *_ in PARTS]
    if not given.only:
        (HERE / "page.md").write_text(page(FAULTS, HEALTHY, *tables), encoding="utf-8")
    bad = list(wrongly_said(*tables))
    for each in bad:
        print(f"not as it should be: {each['name']}, seed {each['seed']}: {each['verdict']}")
    return int(bool(bad))


def wrongly_said(
    faults: Sequence[dict[str, str]], healthy: Sequence[dict[str, str]]
) -> Iterator[dict[str, str]]:
    """Yield faults called fine or not named, and right gradients that are accused.

    Args:
        faults: lines of the faults' table.
        healthy: lines of the healthy cases' table.
    """
    resolved = {each.name for each in FAULTS if each.resolved}
    for each in faults:
        unnamed = each["name"] in resolved and each["named"] != "True"
        if unnamed or each["verdict"] in ("fine", "raised"):
            yield each
    yield from (each for each in healthy if each["verdict"] in ("fault", "raised"))


def write(path: Path, made: Sequence[Mapping[str, Any]]) -> None:
    """Write the table of a part."""
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, Line._fields, lineterminator="\n")
        out.writeheader()
        out.writerows(made)


def read(name: str) -> list[dict[str, str]]:
    """Read the table of a part, [] if there is none."""
    path = HERE / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(main())
