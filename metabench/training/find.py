"""What a training's table says, in sentences with numbers and repairs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from metabench.outer_loop.divergence_report import cause_sentence
from metabench.records.number_format import number
from metabench.records.rows import Finding, from_table
from metabench.training.points import Point, points

if TYPE_CHECKING:
    import pandas as pd

ROSE = 2.0  # a training loss that is this many times its least has diverged
FEWEST = 3  # windows of the log without which nothing is said of it


def find(table: pd.DataFrame) -> list[Finding]:
    """Say where training diverged, or how far it came."""
    return _stopped(table) or [*_diverging(table), *_came(table)]


def _stopped(table: pd.DataFrame) -> list[Finding]:
    """Say at which step the meta-gradient could not be used, and since when the loss had risen."""
    stops, losses = points(table, "stopped"), points(table, "loss")
    if not stops:
        return []
    stop = stops[0]
    what = "is not finite" if stop.row.status == "diverged" else "exploded"
    claim = f"Training stopped at step {stop.value:.0f}: the meta-gradient of its tasks {what}."
    repair = "Lower the outer or the inner rate, or clip: --set outer.clip_norm=..."
    evidence = [stop.row]
    for began in from_table(table, "began", of=None, layer=None):
        claim += f" {cause_sentence(began)}"
        evidence.append(began)
    if losses:
        least = min(losses, key=lambda point: point.value)
        if losses[-1].value > ROSE * least.value > 0:
            claim += (
                f" It diverges from step {least.at:.0f} on, where the loss of its tasks was least: "
                f"{number(least.value)}, against {number(losses[-1].value)} at step "
                f"{losses[-1].at:.0f}."
            )
            evidence += [least.row, losses[-1].row]
    return [Finding("stopped", "critical", "fault", claim, repair, tuple(evidence))]


def _diverging(table: pd.DataFrame) -> list[Finding]:
    """Say from which step on the loss rose and stayed up."""
    losses, checks = points(table, "loss"), points(table, "validation")
    if len(losses) < FEWEST or len(checks) < 2:
        return []
    least = min(losses, key=lambda point: point.value)
    best = min(checks, key=lambda point: point.value)
    last, end = checks[-1], losses[-1]
    if not (last.low > best.high and last.at > best.at):
        return []
    words = f"the loss on held-out tasks rose from {best} at step {best.at:.0f} to {last} at step "
    words += f"{last.at:.0f}"
    evidence = (least.row, best.row, last.row)
    if not end.value > ROSE * least.value > 0:
        claim = f"From step {best.at:.0f} on, {words}, while the training loss didn't double."
        repair = "Stop there, give more training tasks, or pull: --set outer.weight_decay=..."
        return [Finding("overfitted", "warning", "fault", claim, repair, evidence)]
    claim = (
        f"Training diverges from step {least.at:.0f} on: the loss of its tasks was least there, "
        f"{number(least.value)}, is {number(end.value)} at the end, and {words}."
    )
    repair = (
        "Lower the outer rate, or clip the meta-gradient, whose norm was "
        f"{number(_usual(table, least))} until then: --set outer.rate=..., "
        "--set outer.clip_norm=..."
    )
    return [Finding("diverging", "critical", "fault", claim, repair, evidence)]


def _usual(table: pd.DataFrame, until: Point) -> float:
    """Give the median norm of the meta-gradient up to a step."""
    norms = points(table, "gradient_norm")
    return statistics.median(point.value for point in norms if point.at <= until.at)


def _came(table: pd.DataFrame) -> list[Finding]:
    """Say how far the held-out loss fell, on the same tasks before and after."""
    checks, gains = points(table, "validation"), points(table, "gain")
    if len(checks) < 2 or not gains:
        return []
    first, last, gain = checks[0], checks[-1], gains[-1]
    told = f"{first} at step {first.at:.0f}, {last} at step {last.at:.0f}"
    evidence = (gain.row, first.row, last.row)
    if gain.low > 0:
        claim = f"The loss on held-out tasks after adaptation fell by {gain}: {told}."
        repair = "Probe this theta: metabench variance --theta FILE."
        return [Finding("progress", "info", "fine", claim, repair, evidence)]
    if gain.high >= 0:
        claim = (
            f"On held-out tasks training can't be told from standing still: {told}, a fall by "
            f"{gain} on the same tasks."
        )
        repair = "Train longer, raise the outer rate, or measure the noise: metabench variance."
        return [Finding("no_progress", "warning", "undecided", claim, repair, evidence)]
    return []
