"""Did a change of the code change any number? Two revisions, forty commands, every bit.

python reports/same_numbers/run.py OLD NEW [--renames FILE.toml] [--only PATTERN] [--jobs N]

`--save` writes result.csv beside this file.
"""

from __future__ import annotations

import argparse
import csv
import re
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from reports.same_numbers import differences, lines, renames, sides  # ruff: ignore[module-import-not-at-top-of-file]

MOST_DIFFERENCES_LISTED = 5  # most differences listed of a command
TRAINED = re.compile(r"\.\./([\w-]+)/")  # a command takes what another one wrote


@dataclass(frozen=True)
class Result:
    """What the comparison of one command came to."""

    name: str
    rows: int
    differing: Sequence[str]
    seconds: tuple[float, float]  # of processor time, old and new

    def __str__(self) -> str:
        """Say it in a line, and a further one for each of the first differences."""
        outcome = f"{len(self.differing)} differ" if self.differing else "equal"
        said = [f"{self.name}: {self.rows} rows, {outcome}"]
        return "\n    ".join([*said, *self.differing[:MOST_DIFFERENCES_LISTED]])


@dataclass(frozen=True)
class Pair:
    """Two sides that are asked the same."""

    old: sides.Side
    new: sides.Side

    def ask(self, name: str, command: str) -> Result:
        """Run a command on both sides, one after the other, and compare."""
        words = shlex.split(command)
        ran = self.old.run(name, words), self.new.run(name, words)
        differing = [
            f"{side}: exit {each.code}: {each.complaint}"
            for side, each in zip(("old", "new"), ran, strict=True)
            if each.code
        ]
        rows = 0
        if not differing:
            rows, differing = self._compare(*(each.folder for each in ran))
        print(result := Result(name, rows, differing, (ran[0].seconds, ran[1].seconds)), flush=True)
        return result

    def _compare(self, old: Path, new: Path) -> tuple[int, list[str]]:
        same, to = self.old.renames, self.new.renames
        without = differences.left_out(to)
        try:
            one = differences.compared(lines.read(old, to, same), without)
            other = differences.compared(lines.read(new, same, to), without)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 0, [f"a record can't be read: {error!r}"]
        return len(one), differences.differences(one, other) or ([] if one else ["no rows"])


def listed(pattern: str = "") -> dict[str, str]:
    """Give the commands whose names a pattern matches, and those that they take theta from."""
    commands = tomllib.loads((HERE / "commands.toml").read_text())
    chosen = {name for name in commands if re.search(pattern, name)}
    chosen |= {needed for name in chosen for needed in TRAINED.findall(commands[name])}
    return {name: commands[name] for name in commands if name in chosen}


def compare(pair: Pair, commands: Mapping[str, str], jobs: int) -> list[Result]:
    """Ask all commands, those that others take theta from first."""
    first = {needed for command in commands.values() for needed in TRAINED.findall(command)}
    waves = [name for name in commands if name in first], [n for n in commands if n not in first]
    with ThreadPoolExecutor(jobs) as pool:
        return [
            result
            for wave in waves
            for result in list(pool.map(lambda name: pair.ask(name, commands[name]), wave))
        ]


def save(path: Path, results: Sequence[Result], commits: Sequence[str]) -> None:
    """Write a table, a command a line."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["old", "new", "command", "rows", "differing"])
        table.writerows([*commits, each.name, each.rows, len(each.differing)] for each in results)


def main() -> int:
    """Check both revisions out, compare, and say whether all is equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--renames", type=Path, help="TOML file of old and new names")
    parser.add_argument("--only", default="", help="pattern of the commands' names")
    parser.add_argument("--jobs", type=int, default=1, help="commands at once")
    parser.add_argument("--save", action="store_true", help="write result.csv beside this file")
    given = parser.parse_args()
    names, commands = renames.read(given.renames), listed(given.only)
    commits = [sides.commit_of(each) for each in (given.old, given.new)]
    with (
        tempfile.TemporaryDirectory(prefix="same-numbers-") as made,
        sides.checked_out(commits[0], Path(made, "old-checkout")) as one,
        sides.checked_out(commits[1], Path(made, "new-checkout")) as other,
    ):
        pair = Pair(
            sides.Side(one, Path(made, "old"), renames.Renames()),
            sides.Side(other, Path(made, "new"), names),
        )
        pair.old.prepare()
        pair.new.prepare()
        results = compare(pair, commands, given.jobs)
    if given.save:
        save(HERE / "result.csv", results, commits)
    return _tell(results)


def _tell(results: Sequence[Result]) -> int:
    old, new = (sum(each.seconds[side] for each in results) for side in (0, 1))
    print(f"processor seconds: old {old:.0f}, new {new:.0f}")
    rows, wrong = sum(each.rows for each in results), [r.name for r in results if r.differing]
    outcome = f"{', '.join(wrong)} differ" if wrong else "equal"
    print(f"{len(results)} commands, {rows} rows: {outcome}")
    return int(bool(wrong) or not results)


if __name__ == "__main__":
    raise SystemExit(main())
