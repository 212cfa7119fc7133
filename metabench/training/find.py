"""Findings of a training: stopped, diverging, overfitted, progress or no progress."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from metabench.outer_loop.divergence_report import cause_sentence
from metabench.records.number_format import number
from metabench.records.rows import Finding, Row, from_table
from metabench.training.points import Point, points

if TYPE_CHECKING:
    import pandas as pd

DIVERGED_LOSS_RATIO = 2.0  # a training loss this many times its minimum has diverged
LEAST_LEARNED = 0.1  # of the way from constant predictions to right ones: less is near chance
FEWEST_LOG_WINDOWS = 3  # of a log in which a rise of the loss is looked for


def find(table: pd.DataFrame) -> list[Finding]:
    """Return findings on whether training stopped, diverged, overfitted or made progress."""
    return _stopped(table) or [*_diverging(table), *_progress(table)]


def _stopped(table: pd.DataFrame) -> list[Finding]:
    """Find the step whose meta-gradient was unusable, and since when the loss had been rising."""
    stops, losses = points(table, "stopped"), points(table, "loss")
    if not stops:
        return []
    stop = stops[0]
    what = "is not finite" if stop.row.status == "diverged" else "exploded"
    claim = f"Training stopped at step {stop.value:.0f}: the meta-gradient {what}."
    repair = "Lower the outer or the inner rate, or clip: --set outer.clip_norm=..."
    evidence = [stop.row]
    for began in from_table(table, "began", of=None, layer=None):
        claim += f" {cause_sentence(began)}"
        evidence.append(began)
    if losses:
        least = min(losses, key=lambda point: point.value)
        if losses[-1].value > DIVERGED_LOSS_RATIO * least.value > 0:
            claim += (
                f" Training diverges from step {least.at:.0f} on: the training loss rose from "
                f"{number(least.value)} there to {number(losses[-1].value)} at step "
                f"{losses[-1].at:.0f}."
            )
            evidence += [least.row, losses[-1].row]
    return [Finding("stopped", "critical", "fault", claim, repair, tuple(evidence))]


def _diverging(table: pd.DataFrame) -> list[Finding]:
    """Find from which step on the validation loss rose, with or without the training loss."""
    losses, checks = points(table, "loss"), points(table, "validation")
    if len(losses) < FEWEST_LOG_WINDOWS or len(checks) < 2:
        return []
    least = min(losses, key=lambda point: point.value)
    best = min(checks, key=lambda point: point.value)
    last, end = checks[-1], losses[-1]
    if not (last.low > best.high and last.at > best.at):
        return []
    rise = f"from {best} at step {best.at:.0f} to {last} at step {last.at:.0f}"
    evidence = (least.row, best.row, last.row)
    if not end.value > DIVERGED_LOSS_RATIO * least.value > 0:
        claim = f"The validation loss rose {rise}, while the training loss did not double."
        repair = (
            f"Stop at step {best.at:.0f}, use more training tasks, or add weight decay: "
            "--set outer.weight_decay=..."
        )
        return [Finding("overfitted", "warning", "fault", claim, repair, evidence)]
    claim = (
        f"Training diverges from step {least.at:.0f} on: the training loss rose from "
        f"{number(least.value)} there to {number(end.value)} at the end, the validation "
        f"loss {rise}."
    )
    repair = (
        "Lower the outer rate, or clip the meta-gradient (median norm until then: "
        f"{number(_median_norm(table, least))}): --set outer.rate=..., --set outer.clip_norm=..."
    )
    return [Finding("diverging", "critical", "fault", claim, repair, evidence)]


def _median_norm(table: pd.DataFrame, until: Point) -> float:
    """Compute the median norm of the meta-gradient up to a step."""
    norms = points(table, "gradient_norm")
    return statistics.median(point.value for point in norms if point.at <= until.at)


def _progress(table: pd.DataFrame) -> list[Finding]:
    """Find by how much the validation loss fell since the start, paired by task."""
    checks, gains = points(table, "validation"), points(table, "gain")
    if len(checks) < 2 or not gains:
        return []
    first, last, gain = checks[0], checks[-1], gains[-1]
    change = f"{first} at step {first.at:.0f}, {last} at step {last.at:.0f}"
    evidence = (gain.row, first.row, last.row)
    if gain.low > 0:
        claim = f"The validation loss fell by {gain}: {change}."
        return [_judged(table, claim, evidence)]
    if gain.high >= 0:
        claim = (
            f"No progress is measurable: the validation loss fell by {gain} (95 % interval "
            f"includes 0): {change}."
        )
        repair = "Train longer, raise the outer rate, or measure the noise: metabench variance."
        return [Finding("no_progress", "warning", "undecided", claim, repair, evidence)]
    return []


def _judged(table: pd.DataFrame, claim: str, evidence: tuple[Row, ...]) -> Finding:
    """Return the finding on a loss that fell: fine unless a classifier is still near chance."""
    repair = "Diagnose this theta: metabench diagnose --theta FILE."
    accuracies, chance = points(table, "accuracy"), from_table(table, "chance_accuracy")
    if not accuracies or not chance or chance[0].value is None:
        return Finding("progress", "info", "fine", claim, repair, evidence)
    last, level = accuracies[-1], chance[0].value
    limit = level + LEAST_LEARNED * (1 - level)
    evidence = (*evidence, last.row, chance[0])
    claim += (
        f" The accuracy after adaptation is {last}; the best constant prediction has "
        f"{number(level)}."
    )
    if last.low > limit:
        return Finding("progress", "info", "fine", claim, repair, evidence)
    longer = "Train longer (--steps), or raise the outer or the inner rate."
    if last.high < limit:
        claim += " Little has been learned yet."
        return Finding("near_chance", "warning", "fault", claim, longer, evidence)
    claim += f" Whether it is above {number(limit)}, a tenth of the way to 1, can't be told."
    return Finding("near_chance", "info", "undecided", claim, longer, evidence)
