"""How many random mutants of statistics, solvers, algorithms and probes do their tests kill?

python reports/mutations/run.py [--count 100] tries mutants drawn with a fixed seed, each against
the tests mapped to its module, in a copy of the clone, and writes table.csv and page.md. It goes
on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from reports.mutations.mutate import Mutant, mutants  # ruff: ignore[module-import-not-at-top-of-file]

FOLDERS = ("stats", "linalg", "algorithms", "probes")
LEFT_OUT = ("draw.py", "__init__.py", "wording.py", "glossary.py")  # figures, lists and words
SECONDS = 600  # after which a mutant counts as killed: its tests no longer end
FORK = multiprocessing.get_context("fork")  # torch is imported once for all


class Line(NamedTuple):
    """A mutant and what became of it."""

    module: str
    line: str
    what: str
    outcome: str  # killed, survived, or "fails without the change"
    by: str  # the test that failed, or "no end"
    seconds: str


def modules() -> list[Path]:
    """Return the modules that are mutated, by folder and name."""
    every = (path for name in FOLDERS for path in (ROOT / "metabench" / name).rglob("*.py"))
    return sorted(path for path in every if path.name not in LEFT_OUT)


def tests_of(module: Path) -> list[list[str]]:
    """Return the tests of a module: those of its name and of its whole folder, then the others."""
    folder = module.relative_to(ROOT / "metabench").parent
    words = {*module.stem.split("_"), folder.name}
    every: list[Path] = []
    while not every:  # a subfolder's tests may lie in the folder above
        every = sorted((ROOT / "tests" / folder).glob("test_*.py"))
        folder = folder.parent
    named = [path for path in every if words & set(path.stem.split("_"))]
    groups = (named, [path for path in every if path not in named])
    return [[str(path.relative_to(ROOT)) for path in group] for group in groups if group]


def drawn(count: int) -> list[tuple[Path, Mutant]]:
    """Return random mutants, the same for every call: a module by its length, then a place."""
    rng = random.Random(19)
    every = [(path, mutant) for path in modules() for mutant in mutants(path.read_text())]
    return rng.sample(every, min(count, len(every)))


def failed(clone: Path, tests: list[str]) -> str:
    """Return the first test that fails, "" if all pass, "no end" if they don't end.

    Args:
        clone: where they run.
        tests: their files.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        child = FORK.Process(target=_run, args=(clone, tests, said))
        child.start()
        child.join(SECONDS)
        if child.is_alive():
            child.kill()
            return "no end"
        if child.exitcode == 0:
            return ""
        named = re.findall(r"^(?:FAILED|ERROR) (\S+)", said.read_text(), re.MULTILINE)
    return named[0] if named else f"pytest ended with {child.exitcode}"


def _run(clone: Path, tests: list[str], said: Path) -> None:
    """Run tests in this process, a fork of one that has imported libraries only."""
    os.chdir(clone)
    sys.path[:] = [str(clone), *(path for path in sys.path if path != str(ROOT))]
    os.environ["PYTHONPATH"] = str(clone)
    with said.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
        sys.stdout.flush()
    os._exit(int(code))


def tried(clone: Path, module: Path, mutant: Mutant) -> Line:
    """Try a mutant against its tests.

    Args:
        clone: a copy of the clone, whose module is replaced and put back.
        module: the mutated module.
        mutant: what is changed.
    """
    place = module.relative_to(ROOT)
    source = mutant.applied(module.read_text(encoding="utf-8"))
    (clone / place).write_text(source, encoding="utf-8")
    begun = time.monotonic()
    try:
        by = next(filter(None, (failed(clone, tests) for tests in tests_of(module))), "")
    finally:
        shutil.copy(module, clone / place)
    outcome = "killed" if by else "survived"
    if by:  # a test that fails without the change kills nothing
        by_itself = failed(
            clone, [by] if by.startswith("tests/") else list(chain(*tests_of(module)))
        )
        outcome = "fails without the change" if by_itself else outcome
    seconds = f"{time.monotonic() - begun:.1f}"
    return Line(str(place), str(mutant.line), mutant.what, outcome, by, seconds)


def imported() -> None:
    """Import the libraries of the tests, so that forks need not."""
    for library in ("pandas", "scipy.stats", "matplotlib.pyplot", "torch", "torch._dynamo"):
        importlib.import_module(library)


def main() -> int:
    """Try mutants that the table lacks, and write the page; 1 if fewer than 95 % are killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    imported()
    lines = read()
    done = {line[:3] for line in lines}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        ignored = shutil.ignore_patterns(".git", "metabench-runs", ".*_cache")
        shutil.copytree(ROOT, clone, ignore=ignored)
        for module, mutant in drawn(given.count):
            key = (str(module.relative_to(ROOT)), str(mutant.line), mutant.what)
            if key in done:
                continue
            lines.append(tried(clone, module, mutant))
            print(*lines[-1], flush=True)
            write(lines)
    killed = sum(line.outcome == "killed" for line in lines)
    return int(killed < 0.95 * len(lines))


def read() -> list[Line]:
    """Read the table, [] if there is none."""
    path = HERE / "table.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Line(*row) for row in list(csv.reader(file))[1:]]


def write(lines: list[Line]) -> None:
    """Write the table and the page."""
    with (HERE / "table.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(Line._fields)
        out.writerows(lines)
    alive = [line for line in lines if line.outcome != "killed"]
    text = (
        "# Mutants that the tests kill\n\n`python reports/mutations/run.py` makes this page "
        f"([run.py](run.py)). Of {len(lines)} random mutants, {len(lines) - len(alive)} were "
        "killed by the tests of their module. The others:\n\n"
        "| module | line | change | outcome |\n"
        "|---|---|---|---|\n"
    )
    rows = (f"| {each.module} | {each.line} | {each.what} | {each.outcome} |" for each in alive)
    text += "".join(f"{row}\n" for row in rows)
    (HERE / "page.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
