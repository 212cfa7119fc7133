"""Stage 2: tasks a second beside other libraries, and counted bytes beside allocated ones."""

from __future__ import annotations

import importlib
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import metabench as mb
from metabench.autodiff.stopwatch import seconds_of
from metabench.problems.tasks import tree_map
from reports.accelerator.stages import Part, Row, Setting

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
contenders: Any = importlib.import_module("contenders")
PROBLEMS: Any = importlib.import_module("problems").PROBLEMS

ENGINES = ("eager", "trace", "compile")
PLAN = {"sinusoid": (25, 512), "conv4": (16, 64)}  # tasks
STEPS = 5  # K
AGREEMENT = 1e-3  # of the means, float32: a ReLU may fall on either side of its kink
ROUNDS = 7


def parts(setting: Setting) -> list[Part]:
    """Return a comparison for each problem and number of tasks, then the memory of each problem."""
    speeds = [
        Part(f"{problem}, {tasks} tasks", partial(_speed, problem, tasks))
        for problem, counts in PLAN.items()
        for tasks in (counts if setting.size == "full" else (2,))
    ]
    return [*speeds, *[Part(f"{problem}, memory", partial(_memory, problem)) for problem in PLAN]]


def _speed(problem: str, tasks: int, setting: Setting) -> list[Row]:
    """Time all contenders in turns; a library that is not installed is left out by name."""
    case = moved(PROBLEMS[problem](tasks), setting.device)
    engines = ENGINES if setting.size == "full" else ENGINES[:2]
    chosen = contenders.of(case, STEPS, engines)
    reference = chosen["loop"]()
    rows: list[Row] = []
    for name, call in chosen.items():
        apart = float((call() - reference).norm() / reference.norm())
        rows.append({"quantity": "relative difference from the plain loop", "of": name,
                     "value": apart, "limit": AGREEMENT})  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in chosen}
    device = torch.device(setting.device)
    for _ in range(setting.choose(ROUNDS, 1)):
        for name, call in chosen.items():
            seconds[name].append(seconds_of(call, device))
    for name, own in seconds.items():
        ratios = [loop / mine for loop, mine in zip(seconds["loop"], own, strict=True)]
        rows += [
            {"quantity": "seconds", "of": name, "value": statistics.median(own)},
            {"quantity": "tasks per second", "of": name, "value": tasks / statistics.median(own)},
            {"quantity": "times as fast as the plain loop", "of": name,
             "value": statistics.median(ratios), "low": min(ratios), "high": max(ratios)},
        ]  # fmt: skip
    return rows


def _memory(problem: str, setting: Setting) -> list[Row]:
    """Compare the bytes that are counted at the kernels with those that the device allocated."""
    case = moved(PROBLEMS[problem](setting.choose(16, 2)), setting.device)
    rows: list[Row] = []
    for rematerialize in ("none", "every_step"):
        call = contenders.metabench(
            case,
            mb.MAML(STEPS, rematerialize=rematerialize),
            mb.Vectorization("vmap", 512, "eager"),
        )
        call()
        counted = mb.work_of(call).bytes
        rows.append({"quantity": "counted bytes", "of": rematerialize, "value": counted})
        if setting.device.startswith("cuda"):
            allocated = _allocated(call)
            rows.append({"quantity": "allocated bytes", "of": rematerialize, "value": allocated})
    return rows


def _allocated(call: Callable[[], Tensor]) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated() - before)


def moved(case: Any, device: str) -> Any:
    """Return the case with its network, theta and tasks on a device."""
    return case._replace(
        net=case.net.to(device),
        theta=case.theta.to(device),
        tasks=tree_map(lambda leaf: leaf.to(device), case.tasks),
    )
