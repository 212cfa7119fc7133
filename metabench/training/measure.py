"""Rows of a training: its log in windows; validation and probes at the steps where it paused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from metabench.outer_loop.trainer import Trainer
from metabench.outer_loop.training_log import LogEntry, log_array
from metabench.probes.base import Probe
from metabench.records.rows import Row, row
from metabench.stats.intervals import Interval
from metabench.training.chance import chance_accuracy

MOST_LOG_WINDOWS = 400  # about so many windows of the log become rows


def validate_and_probe(trainer: Trainer, probes: Sequence[tuple[str, Probe]]) -> list[Row]:
    """Measure validation loss, accuracy and the probes at the current theta; `at` is the step."""
    step = float(trainer.step)
    loss, accuracy = trainer.validate()
    rows = [row("validation", loss, at=step)]
    if accuracy is not None:
        rows.append(row("accuracy", accuracy, at=step))
        if not trainer.step:
            chance = chance_accuracy(trainer.held_out_tasks())
            rows += [] if chance is None else [Row("chance_accuracy", value=chance)]
    subject = trainer.current_subject
    for name, probe in probes:
        for each in probe.measure(subject, trainer.seed):
            if each.at is None and each.quantity != "seconds":
                rows.append(each._replace(quantity=f"{name}: {each.quantity}", at=step))
    return rows


def log_rows(trainer: Trainer, every: int) -> list[Row]:
    """Summarize the log in windows; `at` is the last step of each.

    `loss` is the training loss, the mean over a window's tasks at the theta their step began from;
    `gradient_norm` the median |g| before clipping; `clipped` the share of clipped steps.
    """
    log = log_array(trainer.log)
    if not len(log):
        return []
    loss, norm, clipped, rate, seconds = (log[:, i] for i in range(len(LogEntry._fields)))
    rows: list[Row] = []
    width = window_width(every, trainer.steps)
    for start in range(0, len(log), width):
        part = slice(start, start + width)
        at = float(min(start + width, len(log)))
        rows += [
            row("loss", _without_ends(loss[part].mean()), at=at),
            row("gradient_norm", _without_ends(np.median(norm[part])), at=at),
            row("rate", _without_ends(rate[part][-1]), at=at),
        ]
        if trainer.outer.clips:
            rows.append(row("clipped", _without_ends(clipped[part].mean()), at=at))
    rows.append(Row("steps", value=float(len(log))))
    rows.append(row("seconds_a_step", _without_ends(np.median(seconds))))
    return rows


def window_width(every: int, steps: int) -> int:
    """Return the steps of a log window: a divisor of `every`, so that each pause ends one."""
    wanted = max(steps // MOST_LOG_WINDOWS, 1)
    return max(width for width in range(1, every + 1) if every % width == 0 and width <= wanted)


def _without_ends(value: float) -> Interval:
    return Interval(float(value), math.nan, math.nan)
