"""Does every algorithm work in every probe, from the shell and from Python, and in training?

    python reports/every_probe/run.py

runs each algorithm in each probe once, as small as it goes, from the shell and from Python, on the
same settings, which must give the same numbers; trains each for a few steps, and runs the probe
`variance` at the theta that was saved. Writes `findings.md`: how many rows hold a number, why the
others don't, and in which sentences the probe withheld something. Takes five minutes of one core.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from metabench import Subject, measure_checked
from metabench.cli.main import main as shell
from metabench.settings import fields, registry

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tiny import TINY, given  # type: ignore[import-not-found]  # ruff: ignore[module-import-not-at-top-of-file]

FAMILY: dict[str, Any] = {"hidden": [5], "shots": 4, "queries": 4}
ALGORITHM = {"steps": 2}
# parts of the names of quantities that depend on time
CLOCKED = ("second", "cheapest", "break", "efficien", "per_")


def run(*words: str) -> tuple[int, str, str]:
    """Run a command in this process; give its exit code and what it said."""
    result = CliRunner().invoke(shell, list(words))
    said = result.stderr.strip().splitlines()
    if result.exception and not isinstance(result.exception, SystemExit):
        return 1, result.stdout, repr(result.exception)
    return result.exit_code, result.stdout, said[-1] if said else ""


def from_shell(probe: str, algorithm: str) -> tuple[str, list[dict[str, Any]], set[str]]:
    """Run a probe; give a word on how it ended, its rows, and what it withheld, in sentences."""
    code, out, said = run(
        probe, "--algo", algorithm, "--family", "sinusoid", "--quiet", "--json",
        *given("family", FAMILY), *given("algo", ALGORITHM), *given("probe", TINY[probe]),
    )  # fmt: skip
    if code:
        return f"exit {code}: {said}", [], set()
    record = json.loads(out)
    rows: list[dict[str, Any]] = record["rows"]
    empty = [row for row in rows if row["value"] is None]
    statuses = Counter(f"{row['quantity']} {row['status']}" for row in empty)
    if silent := [row["quantity"] for row in empty if row["status"] in ("", "ok")]:
        return f"FAILED: no number and no status: {silent}", rows, set()
    reasons = ", ".join(f"{count} {what}" for what, count in sorted(statuses.items()))
    claims = {f["claim"] for f in record["findings"] if "withheld" in f["claim"].lower()}
    word = f"{len(rows) - len(empty)} of {len(rows)}" + (f" ({reasons})" if reasons else "")
    return word, rows, claims


def from_python(probe: str, algorithm: str, rows: list[dict[str, Any]]) -> str:
    """Measure the same from Python; say whether the numbers are the same, except times."""
    family = fields.build("families", "sinusoid", dict(FAMILY))
    subject = Subject(
        family.problem(), family.sample, fields.build("algorithms", algorithm, dict(ALGORITHM)),
        family.theta(0).float(),
    )  # fmt: skip
    found = measure_checked(fields.build("probes", probe, dict(TINY[probe])), subject, 0)
    names = [row["quantity"] for row in rows if _is_timeless(row["quantity"])]
    values = [row["value"] for row in rows if _is_timeless(row["quantity"])]
    others = [row for row in found if _is_timeless(row.quantity)]
    if names != [row.quantity for row in others]:
        return "FAILED: other rows"
    differ = {
        name for name, value, row in zip(names, values, others, strict=True)
        if not _same(value, row.value)
    }  # fmt: skip
    return f"FAILED: {', '.join(sorted(differ))} differ" if differ else f"{len(names)} same"


def _is_timeless(quantity: str) -> bool:
    """Return whether a quantity does not depend on measured time."""
    return not any(word in quantity for word in CLOCKED)


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is None and other is not None and not math.isfinite(other))


def trained(algorithm: str, folder: Path) -> str:
    """Train for a few steps, measure the saved theta, and say how both ended."""
    save = str(folder / f"{algorithm}.safetensors")
    same = [*given("family", FAMILY), *given("algo", ALGORITHM)]
    code, _, said = run(
        "train", "--algo", algorithm, "--family", "sinusoid", "--steps", "3", "--quiet", "--save",
        save, *same, "--set", "outer.batch=4", "--set", "outer.held_out=8",
    )  # fmt: skip
    if code:
        return f"exit {code}: {said}"
    code, _, said = run(
        "variance", "--algo", algorithm, "--family", "sinusoid", "--quiet", "--theta", save, *same,
        *given("probe", TINY["variance"]),
    )  # fmt: skip
    return "yes" if not code else f"exit {code}: {said}"


def main() -> None:
    """Run everything, write the tables."""
    warnings.simplefilter("ignore")
    algorithms = sorted(registry.members("algorithms"))
    assert set(TINY) == set(registry.members("probes")), "a probe without a tiny setting"
    text = [
        "# What it says\n",
        "Rows that hold a number, of those that a probe gave from the shell; in brackets those "
        "that hold none, by their status, which says why (docs/record.md explains them). Then how "
        "many rows are the same to the last bit from Python, except those that depend on time.\n",
    ]
    trainings, withheld = [], dict[str, list[str]]()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for probe in sorted(TINY):
            text += [
                f"## {probe}\n",
                "| algorithm | from the shell | from Python |",
                "|---|---|---|",
            ]
            for algorithm in algorithms:
                word, rows, claims = from_shell(probe, algorithm)
                same = from_python(probe, algorithm, rows) if rows else ""
                text.append(f"| {algorithm} | {word} | {same} |")
                print(probe, text[-1], flush=True)
                for claim in claims:
                    withheld.setdefault(f"{probe}: {claim}", []).append(algorithm)
            text.append("")
        for algorithm in algorithms:
            trainings.append(f"| {algorithm} | {trained(algorithm, Path(folder))} |")
            print(trainings[-1], flush=True)
    text += ["## Trained for three steps, then measured by variance\n", "| algorithm | worked |"]
    text += ["|---|---|", *trainings, "", "## What was withheld, in the probes' words\n"]
    text += [f"- {claim} ({', '.join(names)})" for claim, names in sorted(withheld.items())]
    (HERE / "findings.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
