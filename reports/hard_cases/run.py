"""Does every probe give a right number, or a sentence, where careless ones break?

    python reports/hard_cases/run.py

asks every probe of every hard case, from the shell, at tiny settings; writes `findings.md`: the
exit code, how many rows hold a finite number, the statuses of the rest, and what the probe warns
of. A traceback, a row without a number and without a word why, or a number that isn't finite ends
it with exit code 1. That the numbers are right is tested, case by case, in tests/ ("hard", "dead",
"zero", "indefinite", "diverged", "one_task").
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

from metabench.cli.main import main as shell
from metabench.settings import registry

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tiny import TINY, given  # type: ignore[import-not-found]  # ruff: ignore[module-import-not-at-top-of-file]

BENT = ("--family", f"{HERE / 'hard.py'}:Bent", "--set", "family.dim=4")
SMALL = ("--set", "family.shots=5", "--set", "family.queries=5")
CASES: dict[str, tuple[str, ...]] = {
    "indefinite Hessian": (*BENT, "--set", "family.down=1.8"),
    "singular Hessian": (*BENT, "--set", "family.flat=2"),
    "indefinite, implicit": (*BENT, "--set", "family.down=3", "--algo", "imaml"),
    "no gradient": ("--family", f"{HERE / 'hard.py'}:Nothing"),
    "dead ReLUs": ("--family", f"{HERE / 'hard.py'}:Dead", *SMALL),
    "diverged inner loop": (
        *BENT,
        "--set",
        "algo.steps=5",
        "--set",
        "algo.inner_optimizer.rate=1e30",
    ),
    "K = 0": (*BENT, "--set", "algo.steps=0"),
    "one task": (*BENT, "--set", "probe.tasks=1"),
    "P = 1": ("--family", "quadratic", "--set", "family.dim=1"),
    "phi and theta differ": ("--family", "ridge", "--set", "algo.steps=3"),
}


def asked(probe: str, words: tuple[str, ...]) -> str:
    """Run one probe on one case; say how that ended, FAILED first where it should not have."""
    pinned = {word.partition("=")[0] for word in words}
    free = {k: v for k, v in TINY[probe].items() if f"probe.{k}" not in pinned}
    tiny = given("probe", free)
    result = CliRunner().invoke(shell, [probe, "--quiet", "--json", *words, *tiny])
    if result.exception and not isinstance(result.exception, SystemExit):
        return f"FAILED: {result.exception!r}"
    if result.exit_code:
        said = result.stderr.strip().splitlines()[-1:]
        return f"exit {result.exit_code}: {' '.join(said)}" if said else "FAILED: not a word"
    return said_in(json.loads(result.stdout))


def said_in(record: dict[str, Any]) -> str:
    """Say what a record holds; FAILED where a row or the findings are empty without a reason."""
    rows = record["rows"]
    held = [row for row in rows if row["value"] is not None]
    empty = Counter(row["status"] for row in rows if row["value"] is None)
    if not all(math.isfinite(row["value"]) for row in held) or empty.keys() & {"", "ok"}:
        return "FAILED: a row holds neither a finite number nor a reason"
    if not record["findings"]:
        return "FAILED: nothing is said"
    loud = [f["name"] for f in record["findings"] if f["level"] != "info"]
    numbers = [f"{len(held)} of {len(rows)}", *(f"{n} {status}" for status, n in empty.items())]
    return f"{', '.join(numbers)}; warns of {', '.join(loud) or 'nothing'}"


def main() -> int:
    """Ask everything, write the table; 1 if anything failed."""
    warnings.simplefilter("ignore")
    assert set(TINY) == set(registry.members("probes")), "a probe without a tiny setting"
    text, failed = ["# What each probe says of hard cases\n"], 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for case, words in CASES.items():
            text += [
                f"## {case}\n",
                "| probe | rows with a number, others by status |",
                "|---|---|",
            ]
            for probe in sorted(TINY):
                said = asked(probe, words).replace("|", "\\|")
                failed += said.startswith("FAILED")
                text.append(f"| {probe} | {said} |")
                print(case, text[-1], flush=True)
            text.append("")
    (HERE / "findings.md").write_text("\n".join(text), encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
