"""Does `metabench diagnose` name what was planted, and nothing where nothing was?

python reports/diagnosis/run.py [--healthy 200] writes page.md and table.csv beside this file, in
twenty minutes of one core; `--kept` writes the page again from the table. The draws are small
bowls (tests/ills.py), the settings ills.SMALL, the rules those of the command.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import ills  # type: ignore[import-not-found]  # ruff: ignore[module-import-not-at-top-of-file]

from metabench.diagnosis.checkup import checkup  # ruff: ignore[module-import-not-at-top-of-file]
from metabench.measurement.clock import Clock  # ruff: ignore[module-import-not-at-top-of-file]
from metabench.stats.intervals import Interval  # ruff: ignore[module-import-not-at-top-of-file]
from metabench.stats.proportions import share_interval  # ruff: ignore[module-import-not-at-top-of-file]

Line = tuple[tuple[str, ...], int, list[str], list[str]]  # planted, seed, named, not confirmed
SEEDS = 2  # draws of each plant, and of each pair


def asked(case: ills.Case, seed: int) -> tuple[list[str], list[str]]:
    """Check up a case; return the causes in order, and the findings that were not confirmed."""
    found = checkup(
        case.cell(seed),
        case.outer,
        Clock(3600),
        chosen=ills.SMALL,
        only=ills.asking(case.algorithm),
        highest=0,
    )
    once = [h.finding.name for h in found.findings if h.confirmed is False]
    return [fault.cause for fault in found.faults], once


def cases(healthy: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield what is planted, and the seed: plants alone, in pairs, then none."""
    for plant in ills.PLANTS:
        yield from (((plant,), seed) for seed in range(SEEDS))
    yield from ((pair, seed) for pair in ills.PAIRS for seed in range(SEEDS))
    yield from (((), seed) for seed in range(100, 100 + healthy))


def main() -> None:
    """Run every case, or as many as there is time for, and write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--healthy", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--kept", action="store_true", help="write the page from the table anew")
    given = parser.parse_args()
    if given.kept:
        (HERE / "page.md").write_text(page(_kept()), encoding="utf-8")
        return
    torch.set_num_threads(1)
    begun, lines = time.monotonic(), []
    for planted, seed in cases(given.healthy):
        if time.monotonic() - begun > given.seconds:
            break
        causes, once = asked(ills.planted(planted, seed), seed)
        lines.append((planted, seed, causes, once))
    with (HERE / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("planted", "seed", "named", "heard_once"))
        writer.writerows((" ".join(p), s, " ".join(c), " ".join(o)) for p, s, c, o in lines)
    (HERE / "page.md").write_text(page(lines), encoding="utf-8")
    print((HERE / "page.md").read_text(encoding="utf-8"))


def _kept() -> list[Line]:
    with (HERE / "table.csv").open(newline="") as file:
        return [
            (tuple(row["planted"].split()), int(row["seed"]), row["named"].split(),
             row["heard_once"].split())
            for row in csv.DictReader(file)
        ]  # fmt: skip


def page(lines: list[Line]) -> str:
    """Lay out the confusion matrix, the pairs and the false alarms."""
    alone, pairs, healthy = ([line for line in lines if len(line[0]) == n] for n in (1, 2, 0))
    text = [
        "# Does `metabench diagnose` name what was planted?",
        "",
        "`python reports/diagnosis/run.py` wrote this page. Problems: bowls of 3 to 8 parameters",
        "([tests/ills.py](../../tests/ills.py)); every probe that can warn of the algorithm, at",
        "`ills.SMALL`; warnings confirmed on fresh tasks as the command does it.",
    ]
    return "\n".join([*text, *_matrix(alone), *_pairs(pairs), *_alarms(healthy), ""])


def _matrix(alone: list[Line]) -> list[str]:
    names = [*ills.PLANTS, "another", "nothing"]
    text = [
        "",
        "## One fault: what is named first (rows: planted; columns: named)",
        "",
        "| planted | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for plant in ills.PLANTS:
        firsts = [(c[0] if c else "nothing") for p, _, c, _ in alone if p == (plant,)]
        firsts = [first if first in names else "another" for first in firsts]
        text.append(f"| {plant} | " + " | ".join(str(firsts.count(n)) for n in names) + " |")
    return text


def _pairs(pairs: list[Line]) -> list[str]:
    good = sum(set(p) <= set(c) for p, _, c, _ in pairs)
    return [
        "",
        f"## Two faults: both named in {good} of {len(pairs)} problems",
        "",
        "| planted | seed | named, in order |",
        "|---|---|---|",
        *(f"| {' and '.join(p)} | {s} | {', '.join(c) or 'nothing'} |" for p, s, c, _ in pairs),
        "",
        "Where conjugate gradients meet negative curvature at once, the implicit meta-gradient is",
        "exactly zero on every task, which is said; that tasks are alike can't be seen in it then.",
    ]


def _alarms(healthy: list[Line]) -> list[str]:
    wrong = [line for line in healthy if line[2]]
    once = [line for line in healthy if line[3]]
    ends = share_interval(len(wrong), max(len(healthy), 1))
    early = share_interval(len(once) + len(wrong), max(len(healthy), 1))
    sentences = [f"- seed {s}: {', '.join(c)}" for _, s, c, _ in wrong]
    return [
        "",
        f"## No fault: {len(healthy)} healthy draws",
        "",
        f"False alarms in {len(wrong)}: {_percent(ends)} (95 %, exact binomial). Without asking",
        f"again on fresh tasks it would be {len(once) + len(wrong)}: {_percent(early)}.",
        "",
        "One task a batch among correlated tasks is not a pair: a batch of one has no neighbors,",
        "and the noise scale is withheld where tasks are dependent.",
        *(["", *sentences] if sentences else []),
    ]


def _percent(interval: Interval) -> str:
    value, low, high = (100 * end for end in interval)
    return f"{value:.3g} % [{low:.3g}, {high:.3g}]"


if __name__ == "__main__":
    main()
