"""Files and waiting of tests that run a study on a cluster: a probe of one row, a study of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

# {before} runs before the row {row} is returned; both may read os, signal, time, Path and seed.
PROBE = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from metabench import Probe, Row


@dataclass(frozen=True)
class {name}(Probe):
    fails: bool = False
    axis: ClassVar[str] = "B"
    question: ClassVar[str] = "?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        {before}
        if self.fails:
            raise RuntimeError("none of them")
        return [{row}]

    def find(self, table):
        return []

    def draw(self, table, axes):
        pass
"""
STUDY = """
seed = "range({cells})"
[probe]
{probe}
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 3
"""


def write_probe(path: str, name: str, before: str, row: str) -> None:
    """Write a file with a probe that runs `before`, and returns `row`."""
    Path(path).write_text(PROBE.format(name=name, before=before, row=row), encoding="utf-8")


def write_study(path: str, cells: int, probe: str) -> None:
    """Write a study of so many cells; `probe` is what stands in its section [probe]."""
    Path(path).write_text(STUDY.format(cells=cells, probe=probe), encoding="utf-8")


def until(true: Callable[[], object], seconds: float, said: Callable[[], str]) -> None:
    """Wait until something holds; at most so long, and then fail with what is `said`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, said()
        time.sleep(0.2)
