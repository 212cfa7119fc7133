"""Does a grid survive SIGKILL? Kill workers and parents at random, then compare the tables.

    python reports/grid_survival/survival.py --executor pool --cells 500 --kills 20

A study is run once undisturbed and once disturbed; then one more run must complete it, with every
cell there once, none corrupt, and the same table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

from metabench.records.store.store import Store
from metabench.records.store.tables import tables, tidy

STUDY = """
seed = "range({cells})"
[probe]
name = "variance"
tasks = 64
sizes = [1, 2]
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 3
"""
MEASURED_ANEW = ["seconds", "peak_bytes", "environment", "attempts"]


def main() -> None:
    """Run the whole comparison and print what was found."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--executor", default="pool")
    asked.add_argument("--cells", type=int, default=500)
    asked.add_argument("--kills", type=int, default=20)
    asked.add_argument("--parents", type=int, default=1, help="on one store at once")
    asked.add_argument("--seed", type=int, default=0, help="of the moments and the victims")
    given = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="grid-survival-"))
    (folder / "study.toml").write_text(STUDY.format(cells=given.cells))
    calm, wild = Store(folder / "calm"), Store(folder / "wild")
    _finish(folder, calm, given.executor)
    _disturb(folder, wild, given, random.Random(given.seed))
    before = sum(state == "done" for state in wild.standing().values())
    print(f"after the kills: {before} of {given.cells} cells are done")
    print(_finish(folder, wild, given.executor))
    _compare(calm, wild, given.cells)


def _start(folder: Path, store: Store, engine: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "metabench", "grid", "study.toml", "--executor", engine]
    return subprocess.Popen(
        [*command, "--store", str(store.folder), "--quiet"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(folder: Path, store: Store, engine: str) -> str:
    begun = time.monotonic()
    process = _start(folder, store, engine)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return f"{store.folder.name}: {said.splitlines()[0]}, in {time.monotonic() - begun:.0f} s"


def _disturb(folder: Path, store: Store, given: argparse.Namespace, chance: random.Random) -> None:
    """Send the kills at random moments while cells are open, starting anew what is gone."""
    parents = [_start(folder, store, given.executor) for _ in range(given.parents)]
    killed = {"parent": 0, "worker": 0}
    while sum(killed.values()) < given.kills and len(store.standing()) < given.cells:
        _wait(parents, store, chance.randrange(given.cells // given.kills))
        time.sleep(chance.uniform(0.0, 1.0))
        place = chance.randrange(len(parents))
        if parents[place].poll() is not None:
            parents[place] = _start(folder, store, given.executor)
            continue
        workers = _descendants(parents[place].pid)
        whole = not workers or chance.random() < 0.3
        victim = parents[place].pid if whole else chance.choice(workers)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed["parent" if whole else "worker"] += 1
    if not given.kills:  # only that several parents do each other no harm
        said = [parent.communicate()[0].splitlines()[0] for parent in parents]
        print(f"parents at once: {said}")
    print(f"killed: {killed['worker']} workers, {killed['parent']} parents")
    for parent in parents:
        for pid in [*_descendants(parent.pid), parent.pid]:
            os.kill(pid, signal.SIGKILL)
        parent.wait()


def _wait(parents: list[subprocess.Popen[str]], store: Store, cells: int) -> None:
    """Let the grid go on by so many cells, or until a parent is gone."""
    begun = len(store.standing())
    while len(store.standing()) < begun + cells and all(p.poll() is None for p in parents):
        time.sleep(0.05)


def _descendants(pid: int) -> list[int]:
    """List the Python processes below one, by /proc; a helper of the standard library is none."""
    found: list[int] = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    except OSError:
        return []
    for child in map(int, children):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"resource_tracker" not in command:
            found.append(child)
        found += _descendants(child)
    return found


def _compare(calm: Store, wild: Store, cells: int) -> None:
    names = [path.name for path in (wild.folder / "cells").glob("*/[!.]*")]
    assert len(names) == len(set(names)) == cells, f"{len(names)} records for {cells} cells"
    for path in (wild.folder / "cells").glob("*/[!.]*"):
        assert json.loads(path.read_text())["outcome"] == "ok", path
    first, second = (_table(store) for store in (calm, wild))
    assert_frame_equal(first, second, check_exact=True)
    again = tables(wild).cells["attempts"]
    print(
        f"{cells} records, each once, none corrupt; {int((again > 1).sum())} cells needed another"
    )
    print(f"attempt on record; both tables are equal, bit for bit ({len(first):,} numbers)")


def _table(store: Store) -> pd.DataFrame:
    found = tables(store)
    assert not found.broken
    table = tidy(found).drop(columns=[*MEASURED_ANEW, "store"], errors="ignore")
    table = tidy(found).drop(columns=[*MEASURED_ANEW, "store"], errors="ignore")
    return table[~table["quantity"].astype(str).str.contains("seconds")].reset_index(drop=True)


if __name__ == "__main__":
    main()
