"""Is metabench right and fast on an accelerator? Four stages, each within a budget, resumable.

    python reports/accelerator/run.py --budget 8m --stage 1

Every part is saved as it ends, in results/<device>/stage<N>.json; the same command goes on with
the parts that are left. `--device cpu --size tiny` tries the script itself in seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from pathlib import Path

import torch

from metabench.records.provenance import provenance
from metabench.settings import amounts
from metabench.settings.errors import InvalidInput

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from reports.accelerator import stages  # ruff: ignore[module-import-not-at-top-of-file]

STAGES = {1: "correctness", 2: "throughput", 3: "study_on_device", 4: "language"}


def main() -> int:
    """Run one stage; the exit code is 0 if all its parts are done and held, else 3."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--stage", type=int, choices=STAGES, required=True)
    asked.add_argument("--budget", default="8m", help="of this call, e.g. 8m")
    asked.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    asked.add_argument("--size", choices=stages.SIZES, default="full")
    asked.add_argument("--results", type=Path, default=HERE / "results")
    asked.add_argument("--only", default="", help="a regular expression of the parts' names")
    asked.add_argument("--again", action="store_true", help="run failed parts once more")
    given = asked.parse_args()
    try:
        budget = amounts.seconds(given.budget)
    except InvalidInput as error:
        asked.error(str(error))
    if given.device != "cpu" and not torch.cuda.is_available():
        asked.error(f"torch {torch.__version__} sees no CUDA device; give --device cpu.")
    torch.set_num_threads(1)
    setting = stages.Setting(given.device, given.size)
    made = provenance(given.device)
    folder = given.results / _slug(f"{made['device']} {given.size}")
    results = stages.Results(folder / f"stage{given.stage}.json", made)
    parts = importlib.import_module(f"reports.accelerator.{STAGES[given.stage]}").parts(setting)
    parts = [part for part in parts if re.search(given.only, part.name)]
    left = stages.run(parts, setting, results, budget, given.again)
    return _say(results, len(left))


def _say(results: stages.Results, left: int) -> int:
    """Print what did not hold and what is left."""
    statuses = [part["status"] for part in results.parts.values()]
    for name, part in results.parts.items():
        if part["status"] in ("not held", "failed"):
            print(f"{part['status']}: {name}: {part['error'] or json.dumps(part['rows'])}")
    counts = ", ".join(f"{statuses.count(each)} {each}" for each in sorted(set(statuses)))
    print(f"{results.path}: {counts}; {left} parts left")
    return 3 if left or {"failed", "not held"} & set(statuses) else 0


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
