"""What does a grid cost besides its measurements? A cell on the pool, a resume, a big table.

python reports/grid_survival/overhead.py --cells 2000 --resume 10000 --compacted 100000
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from metabench.grid.execution.executors.pool import Pool
from metabench.grid.execution.executors.slots import cpu_slots
from metabench.grid.execution.run_cell import Job, save_record
from metabench.grid.scheduling.scheduler import drive
from metabench.grid.scheduling.work_units import todo
from metabench.grid.study import study as studies
from metabench.grid.study.study import Study
from metabench.records.record import compose
from metabench.records.rows import Row
from metabench.records.store.parquet_snapshot import write_snapshot
from metabench.records.store.store import Store
from metabench.records.store.tables import tables, tidy

PROBE = """
from dataclasses import dataclass
from typing import ClassVar
from metabench import Probe, Row

@dataclass(frozen=True)
class Nothing(Probe):
    axis: ClassVar[str] = "B"
    question: ClassVar[str] = "?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        return [Row("nothing", value=float(seed))]

    def find(self, table):
        return []

    def draw(self, table, axes):
        pass
"""
STUDY = """
seed = "range({cells})"
[probe]
name = "{probe}"
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 1
"""
NUMBERS = 12  # measured numbers of a cell, about as many as `variance` gives at three sizes


def main() -> None:
    """Time each and print it."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cells", type=int, default=2000)
    asked.add_argument("--resume", type=int, default=10_000, help="0: none")
    asked.add_argument("--compacted", type=int, default=100_000, help="0: none")
    given = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="grid-overhead-"))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    _cell(folder, given.cells)
    if given.resume:
        _resume(folder, given.resume)
    if given.compacted:
        _table(folder, given.compacted)


def _study(folder: Path, cells: int, probe: str = "variance") -> Study:
    (folder / "study.toml").write_text(STUDY.format(cells=cells, probe=probe))
    return studies.read(folder / "study.toml")


def _cell(folder: Path, cells: int) -> None:
    """Time cells that measure nothing, from the first outcome to the last, on one worker."""
    (folder / "nothing.py").write_text(PROBE)
    study, store = _study(folder, cells, "nothing.py:Nothing"), Store(folder / "pool").open()
    times: list[float] = []
    drive(study, store, Pool(tuple(cpu_slots(1, 1))), list(study.cells),
          lambda tally: times.append(time.perf_counter()))  # fmt: skip
    each = (times[-1] - times[1]) / (cells - 1)
    seconds = [(store.read(digest) or {"seconds": 0.0})["seconds"] for digest in study.cells]
    warm = np.sort(seconds)[:-1]  # the first cell, which loads what is needed, isn't in `each`
    print(f"a cell on the pool: {1000 * (each - warm.mean()):.1f} ms besides its own seconds, "
          f"{1000 * warm.mean():.0f} ms, of checks and settling here ({cells} cells)")  # fmt: skip


def _resume(folder: Path, cells: int) -> None:
    begun = time.perf_counter()
    study, store = _study(folder, cells), Store(folder / "resume").open()
    planned = time.perf_counter() - begun
    for digest, settings, spec, _ in study.cells.values():
        save_record(Job(store, digest, settings, spec), 0.1, {"outcome": "ok"})
    begun, used = time.perf_counter(), time.process_time()
    assert todo(study, store, retry=False) == []
    print(f"{cells} cells: resume check {time.perf_counter() - begun:.2f} s, "
          f"{time.process_time() - used:.2f} s of them computing "
          f"(reading the study before it: {planned:.2f} s)")  # fmt: skip


def _table(folder: Path, cells: int) -> None:
    """Time the tables of a compacted store; its records are written without waiting for disk."""
    store = Store(folder / "table").open()
    (planned,) = _study(folder, 1).cells.values()
    rows = [Row("variance", at=float(B), value=1 / (B + 1)) for B in range(NUMBERS)]
    for i in range(cells):
        spec = {**planned.spec, "seed": i}
        record = compose(spec, rows, None, {}, {"seconds": 0.1})
        place = store.path(record["digest"])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(record) + "\n")
    begun = time.perf_counter()
    found = tables(store)
    write_snapshot(store.folder, found.cells, found.rows)
    print(f"{cells} cells compacted in {time.perf_counter() - begun:.1f} s")
    begun, used = time.perf_counter(), time.process_time()
    found = tables(store)
    read, computed = time.perf_counter() - begun, time.process_time() - used
    lines = len(tidy(found))
    print(
        f"{len(found.cells)} compacted cells: tables in {read:.2f} s, {computed:.2f} s of them "
        f"computing; with the tidy table of {lines} numbers {time.perf_counter() - begun:.2f} s"
    )


if __name__ == "__main__":
    main()
