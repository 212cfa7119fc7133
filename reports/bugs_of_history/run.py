"""Does `metabench verify` find eight faults that were published, and pass their mended versions?

python reports/bugs_of_history/run.py

runs sixteen commands from the root of a clone, in two minutes of one core, and writes page.md.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from metabench.cli.main import main as shell

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from reports.bugs_of_history.faults import FAULTS, Fault  # ruff: ignore[module-import-not-at-top-of-file]

HEAD = """# Eight bugs of history

Each of these faults was published in a library or an example of the field, and none of them stops
a program. Each is rebuilt here in about ten lines ([estimators.py](estimators.py),
[solvers.py](solvers.py)), beside a mended version that differs in the line at fault.
`python reports/bugs_of_history/run.py` runs `metabench verify` on all sixteen, from the root of a
clone, and writes this page.

| fault | what it does | `metabench verify` with | of the broken one | of the mended one |
|---|---|---|---|---|
"""
Found = Sequence[dict[str, Any]]  # findings, as the record holds them


def findings(arguments: str, more: Sequence[str] = ()) -> Found:
    """Return the findings of `metabench verify`, as its record holds them.

    Args:
        arguments: of the command, with paths from the root of the clone.
        more: further arguments.

    Returns:
        The findings, the most severe first.
    """
    words = shlex.split(arguments.replace("reports/", f"{ROOT}/reports/"))
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        result = CliRunner().invoke(shell, ["verify", "--quiet", "--json", *words, *more])
    if result.exit_code:
        raise RuntimeError(f"metabench verify {arguments}: {result.output}") from result.exception
    found: Found = json.loads(result.stdout)["findings"]
    return found


def faults_of(found: Found) -> list[dict[str, Any]]:
    """Return the findings that are warnings or worse."""
    return [finding for finding in found if finding["level"] != "info"]


def names_it(fault: Fault, found: Found) -> dict[str, Any] | None:
    """Return the first warning whose claim or repair names the fault, or None."""
    for finding in faults_of(found):
        said = f"{finding['claim']} {finding['repair']}"
        if any(words in said for words in fault.named):
            return finding
    return None


def quoted(finding: dict[str, Any]) -> str:
    """Write a finding as the terminal does."""
    level = finding["level"].upper()
    return f"> **{level}** {finding['claim']}\n> → {finding['repair']}\n"


def section(number: int, fault: Fault, broken: Found, mended: Found) -> str:
    """Write the section of one fault.

    Args:
        number: of the section.
        fault: where it was seen and what it does.
        broken: findings of the broken version.
        mended: findings of the mended version.
    """
    passed = [finding for finding in mended if finding["name"] == "verified"]
    said = "\n".join(quoted(finding) for finding in faults_of(broken))
    clean = "\n".join(quoted(finding) for finding in (faults_of(mended) or passed))
    return (
        f"\n## {number}. {fault.name}\n\n{fault.effect}\n\n"
        f"*Seen in:* [{fault.seen}]({fault.url}). *The line at fault:* {fault.line}.\n\n"
        f"```bash\nmetabench verify {wrapped(fault.broken)}\n```\n\n{said}\n"
        f"Mended:\n\n```bash\nmetabench verify {wrapped(fault.mended)}\n```\n\n{clean}"
    )


def wrapped(arguments: str) -> str:
    """Break a command's lines before its options."""
    for option in (" --problem", " --family", " --set algo.prox"):
        arguments = arguments.replace(option, f" \\\n {option}")
    return arguments


def line(number: int, fault: Fault, broken: Found, mended: Found) -> str:
    """Write the table's line of one fault.

    Args:
        number: of its section.
        fault: which one.
        broken: findings of the broken version.
        mended: findings of the mended version.
    """
    said = names_it(fault, broken)
    loud = "not named" if said is None else f"{said['level']}: {first(said['claim'])}"
    clean = [first(finding["claim"]) for finding in (faults_of(mended) or mended[:1])]
    anchor = "".join(c for c in fault.name.lower().replace(" ", "-") if c.isalnum() or c == "-")
    member = next(word for word in fault.broken.split() if word.count(".py:"))
    cells = (first(fault.effect), f"`{member.rpartition('/')[2]}`", loud, " ".join(clean))
    return f"| [{fault.name}](#{number}-{anchor}) | {' | '.join(cells)} |\n"


def first(claim: str) -> str:
    """Return the first sentence, without the list after its colon."""
    return claim.split(". ")[0].split(": ")[0].rstrip(".").replace("|", "\\|") + "."


def main() -> int:
    """Run every command and write the page; 1 if a fault is missed or a mended version blamed."""
    warnings.simplefilter("ignore")
    table, sections, failed = "", "", 0
    for number, fault in enumerate(FAULTS, 1):
        broken, mended = findings(fault.broken), findings(fault.mended)
        failed += names_it(fault, broken) is None or bool(faults_of(mended))
        table += line(number, fault, broken, mended)
        sections += section(number, fault, broken, mended)
        print(table.splitlines()[-1], flush=True)
    (HERE / "page.md").write_text(HEAD + table + sections, encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
