"""Stage 3: a grid over the device, its numbers beside those of the CPU."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from reports.accelerator.stages import Part, Row, Setting

STUDY = """
device = "{device}"
dtype = "float64"
seed = "range({seeds})"
[probe]
name = "variance"
tasks = {tasks}
batches = 16
redrawn_tasks = 0
[algo]
name = ["maml", "fomaml", "imaml"]
[family]
name = "logcosh"
"""


def parts(setting: Setting) -> list[Part]:
    """Return one part for each executor that can run here."""
    executors = ["inline", *(["pool"] if importlib.util.find_spec("pebble") else [])]
    return [Part(f"grid, {name}", partial(_grid, name)) for name in executors]


def _grid(executor: str, setting: Setting) -> list[Row]:
    """Run the same study on the device and on the CPU, and compare all numbers."""
    kind = setting.device.partition(":")[0]
    with tempfile.TemporaryDirectory() as folder:
        found, seconds = _numbers(Path(folder) / "device", kind, executor, setting)
        expected, on_cpu = _numbers(Path(folder) / "cpu", "cpu", executor, setting)
    apart = [
        abs(found[key] - expected[key]) / (abs(expected[key]) + 1e-30)
        for key in expected.keys() & found.keys()
    ]
    return [
        {"quantity": "numbers missing", "of": executor,
         "value": len(expected.keys() - found.keys()), "limit": 0},
        {"quantity": "largest relative difference from the CPU", "of": executor,
         "value": max(apart, default=float("nan")), "limit": 1e-6},
        {"quantity": "seconds", "of": kind, "value": seconds},
        {"quantity": "seconds", "of": "cpu", "value": on_cpu},
    ]  # fmt: skip


def _numbers(
    folder: Path, device: str, executor: str, setting: Setting
) -> tuple[dict[str, float], float]:
    folder.mkdir()
    study = folder / "study.toml"
    study.write_text(
        STUDY.format(device=device, seeds=setting.choose(4, 1), tasks=setting.choose(1024, 32))
    )
    store = str(folder / "store")
    begun = time.perf_counter()
    _run("grid", str(study), "--store", store, "--executor", executor, "--quiet")
    seconds = time.perf_counter() - begun
    table = folder / "table.csv"
    _run("report", store, "--table", str(table), "--html", str(folder / "page.html"))
    return _values(table), seconds


def _run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metabench", *words], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"metabench {words[0]}: exit {done.returncode}: {done.stderr[-800:]}")


def _values(path: Path) -> dict[str, float]:
    """Return the table's numbers by all that names them; seconds and bytes left out."""
    import pandas as pd

    table = pd.read_csv(path, keep_default_na=False)
    table = table[~table["quantity"].str.contains("seconds|bytes") & (table["value"] != "")]
    names = [name for name in ("algo", "algo.name", "seed", "quantity", "at", "of", "layer")
             if name in table]  # fmt: skip
    keys = table[names].astype(str).agg("|".join, axis=1)
    return dict(zip(keys, table["value"].astype(float), strict=True))
