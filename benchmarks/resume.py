"""Processor time of `metabench grid` on a study whose cells are all on record.

    python benchmarks/resume.py --cells 100000 --rounds 5 [--against ../other/checkout]

The records are made up (two rows each), so that only the resume is measured: reading the study,
its cells' digests, and the state of each record. What the imports take is measured beside it and
subtracted. With another checkout, the two take turns, and ratios are of neighbouring runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from metabench.grid.study import study
from metabench.records.record import compose
from metabench.records.rows import Row
from metabench.records.store.store import Store

STUDY = """\
seed = "range({seeds})"
[probe]
name = "variance"
tasks = 64
[algo]
name = "maml"
inner_optimizer.rate = "log(1e-3, 1, {rates})"
[family]
name = "quadratic"
"""
IMPORTS = (
    "import metabench.cli.main, metabench.cli.grid.run, metabench.measurement.measurement, "
    "metabench.probes.variance, metabench.algorithms.maml, metabench.families.quadratic, "
    "metabench.grid.execution.executors.pool"
)


def main() -> None:
    """Make the store, then resume its study in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--rates", type=int, default=100, help="values of a second axis")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout of metabench")
    parser.add_argument("--folder", type=Path, help="where a store is kept for the next call")
    options = parser.parse_args()
    here = Path(__file__).parent.parent.resolve()
    homes = [here] + [options.against.resolve()] * bool(options.against)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        file = made(folder, options.cells, options.rates)
        rounds = [[beyond_imports(home, file) for home in homes] for _ in range(options.rounds)]
    print(f"{options.cells:,} cells, load {os.getloadavg()[0]:.1f}, {options.rounds} rounds")
    for home, seconds in zip(homes, zip(*rounds, strict=True), strict=True):
        print(f"{home}: {statistics.median(seconds):.2f} s beyond its imports, {least(seconds)}")
    if options.against:
        print(f"ratio {statistics.median(old / new for new, old in rounds):.1f}")


def least(seconds: tuple[float, ...]) -> str:
    """Return the least and the most as text."""
    return f"{min(seconds):.2f} to {max(seconds):.2f}"


def made(folder: Path, cells: int, rates: int) -> Path:
    """Write a study file and a record for each of its cells; return the file."""
    file = folder / "resume.toml"
    text = STUDY.format(seeds=cells // rates, rates=rates)
    if file.is_file() and file.read_text() == text:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    store = Store(folder / "store").open()
    rows = [Row("variance", at=1.0, value=1.0), Row("noise_scale", value=2.0)]
    for cell in study.read(file).cells.values():
        more = {"settings": cell.settings, "seconds": 1.0, "attempts": [{"outcome": "ok"}]}
        store.save(compose(cell.spec, rows, None, {}, more), failed=False)
    store.standing()  # reads all in full, once
    return file


def beyond_imports(home: Path, file: Path) -> float:
    """Return the processor seconds of a resume less those of its imports."""
    words = ["-m", "metabench", "grid", file.name, "--store", "store", "--quiet", "--json"]
    return spent(home, file.parent, words) - spent(home, file.parent, ["-c", IMPORTS])


def spent(home: Path, folder: Path, words: list[str]) -> float:
    """Return the processor seconds of a Python process in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(home)}
    subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
