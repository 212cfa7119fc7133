"""Does every command end bad input in a sentence, with a documented exit code and in time?

    python reports/bad_inputs/run.py [WORDS]

runs every case in this process, or those whose name contains WORDS, and writes `table.csv` (a line
a case) and `findings.md` (the counts, and what went wrong). It ends with 1 if anything did.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from reports.bad_inputs import data_files, good_files, options, settings, user_files  # ruff: ignore[module-import-not-at-top-of-file]
from reports.bad_inputs.case import Case, Ended, Workplace, run  # ruff: ignore[module-import-not-at-top-of-file]


def every_case() -> list[Case]:
    """Return all cases."""
    return [
        case for module in (options, settings, user_files, data_files) for case in module.cases()
    ]


def main(words: Sequence[str]) -> int:
    """Run the cases, write what was found, and return the exit code."""
    chosen = [case for case in every_case() if all(word in case.name for word in words)]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        good, ended = Path(place) / "good", list[Ended]()
        good.mkdir()
        good_files.make(good)
        workplace = Workplace(good, Path(place) / "bad inputs")
        for case in chosen:
            ended.append(run(case, workplace))
            if ended[-1].problem:
                print(f"{case.group}, {case.name}: {ended[-1].problem}\n  {ended[-1].text}",
                      flush=True)  # fmt: skip
    wrong = [each for each in ended if each.problem]
    print(f"{len(ended)} cases, {len(wrong)} wrong, {time.perf_counter() - begun:.0f} s")
    if not words:
        _write_table(ended)
        _write_counts(ended)
    return 1 if wrong else 0


def _write_table(ended: Sequence[Ended]) -> None:
    with (HERE / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "case", "exit code", "problem"])
        for each in ended:
            name = each.case.name.encode("unicode_escape").decode()
            writer.writerow([each.case.group, name, each.code, each.problem])


def _write_counts(ended: Sequence[Ended]) -> None:
    groups = list(dict.fromkeys(each.case.group for each in ended))
    codes = sorted({each.code for each in ended})
    lines = [
        "# The last run of `python reports/bad_inputs/run.py`",
        "",
        f"{len(ended)} cases; {sum(bool(each.problem) for each in ended)} ended wrongly.",
        "",
        f"| what is bad | cases | {' | '.join(f'exit code {code}' for code in codes)} | wrong |",
        f"|---|---|{'---|' * len(codes)}---|",
    ]
    for group in groups:
        own = [each for each in ended if each.case.group == group]
        counts = Counter(each.code for each in own)
        wrong = sum(bool(each.problem) for each in own)
        cells = " | ".join(str(counts[code]) for code in codes)
        lines.append(f"| {group} | {len(own)} | {cells} | {wrong} |")
    lines += ["", *(f"- {each.case.name}: {each.problem}" for each in ended if each.problem)]
    (HERE / "findings.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
