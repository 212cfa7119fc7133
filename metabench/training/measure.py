"""A training as rows: its log in windows, validation and probes at the steps where it paused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metabench.outer_loop.trainer import LogEntry, Trainer, log_array
from metabench.probes.base import Probe
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval

WINDOWS = 400  # about as many windows of the log are kept in the table


def validate_and_probe(trainer: Trainer, probes: Sequence[tuple[str, Probe]]) -> list[Row]:
    """Validate and probe where training is now; `at` is the step."""
    step = float(trainer.step)
    loss, accuracy = trainer.validate()
    rows = [row("validation", loss, at=step)]
    rows += [] if accuracy is None else [row("accuracy", accuracy, at=step)]
    subject = trainer.current_subject
    for name, probe in probes:
        for each in probe.measure(subject, trainer.seed):
            if each.at is None and each.quantity != "seconds":
                rows.append(each._replace(quantity=f"{name}: {each.quantity}", at=step))
    return rows


def log_rows(trainer: Trainer, every: int) -> list[Row]:
    """Sum the log up in windows, each under its last step.

    `loss` is the mean outer loss of a window's tasks, each at the theta its step began from;
    `gradient_norm` the median |g| before clipping; `clipped` the share of steps that were.
    """
    log = log_array(trainer)
    if not len(log):
        return []
    loss, norm, clipped, rate, seconds = (log[:, i] for i in range(len(LogEntry._fields)))
    rows: list[Row] = []
    width = window(every, trainer.steps)
    for start in range(0, len(log), width):
        part = slice(start, start + width)
        at = float(min(start + width, len(log)))
        rows += [
            row("loss", _only(loss[part].mean()), at=at),
            row("gradient_norm", _only(np.median(norm[part])), at=at),
            row("rate", _only(rate[part][-1]), at=at),
        ]
        if trainer.outer.clips:
            rows.append(row("clipped", _only(clipped[part].mean()), at=at))
    rows.append(Row("steps", value=float(len(log))))
    rows.append(row("seconds_a_step", _only(np.median(seconds))))
    return rows


def window(every: int, steps: int) -> int:
    """Give the width of the log's windows: a divisor of `every`, so that pauses end one."""
    wanted = max(steps // WINDOWS, 1)
    return max(width for width in range(1, every + 1) if every % width == 0 and width <= wanted)


def _only(value: float) -> Interval:
    return Interval(float(value), math.nan, math.nan)
