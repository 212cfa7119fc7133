"""Findings about the noise scale, and whether B is large enough."""

from __future__ import annotations

import math

from metabench.probes.variance.findings.independence import BATCH_BY_LAW, law
from metabench.probes.wording import interval, number
from metabench.records.rows import Finding, Row, Rows, from_table

MARGIN = 2.0  # B over the noise scale: above 2 it is enough, below 1/2 too small


def noise(table: Rows, batch: int, tasks: int) -> list[Finding]:
    """Judge B by the interval of the noise scale.

    Args:
        table: rows by quantity.
        batch: the B you train with.
        tasks: that were measured.
    """
    found = from_table(table, "noise_scale")
    (mean,) = from_table(table, "mean_norm_squared")
    scale = found[0] if found else Row("noise_scale", status="withheld")
    if scale.status == "degenerate":
        claim = "The meta-gradient is the same for every task, so its variance is zero."
        repair = "Check that tasks differ and that the loss depends on theta."
        return [Finding("no_variation", "warning", "fault", claim, repair, (mean,))]
    if scale.low is None:
        return [_no_signal(table, mean)] if mean.status == "unresolved" else []
    found_law = law(table)
    if found_law == "doubtful":
        return [_law_unclear(scale, mean)]
    assumed = BATCH_BY_LAW.get(found_law, "")
    no_signal = [_no_signal(table, mean)] if mean.status == "unresolved" else []
    if scale.low > MARGIN * batch:
        return [_too_small(scale, mean, batch, assumed), *no_signal]
    if no_signal:
        return no_signal
    if scale.value is None or scale.high is None or not scale.low > 0:
        return [_too_wide(scale)]
    return [_judged(scale, mean, batch, tasks, assumed)]


def _law_unclear(scale: Row, mean: Row) -> Finding:
    """Give the ratio alone where V1/B may not be the variance of a batch."""
    claim = (
        f"tr Cov(g) / |E g|^2 of single tasks is {_scale_text(scale)}. It is the noise scale only "
        "if the variance of B tasks is that of one task over B. The slope of the variance excludes "
        "-1, so whether B is large enough is undecided."
    )
    repair = "Measure again with another --seed, to see whether the slope differs from -1 there."
    return Finding("noise_unclear", "info", "undecided", claim, repair, (scale, mean))


def _too_small(scale: Row, mean: Row, batch: int, assumed: str) -> Finding:
    """Warn of a B below half of the noise scale's lower end."""
    claim = f"Noise equals signal at {_scale_text(scale)}, more than twice B = {batch}."
    claim += _progress_text(scale, batch) + assumed
    towards = number(scale.low if scale.value is None or scale.high is None else scale.value)
    repair = (
        f"Raise the task batch towards {towards}, or lower the outer rate in proportion: below "
        "the noise scale, progress per step grows nearly in proportion to B."
    )
    return Finding("noise_scale", "warning", "fault", claim, repair, (scale, mean))


def _judged(scale: Row, mean: Row, batch: int, tasks: int, assumed: str) -> Finding:
    """Call B enough where the noise scale's upper end is below B/2, otherwise undecided."""
    low, high = scale.low or 0.0, scale.high or 0.0
    claim = f"Noise equals signal at {_scale_text(scale)}."
    claim += _progress_text(scale, batch)
    if high < batch / MARGIN:
        claim += f" B = {batch} is more than twice the noise scale.{assumed}"
        repair = (
            f"A larger batch would gain at most {100 * high / batch:.3g} % per step; a "
            "somewhat smaller one costs less."
        )
        return Finding("noise_scale", "info", "fine", claim, repair, (scale, mean))
    claim += f" Whether B = {batch} is large enough is undecided.{assumed}"
    needed = tasks * (math.log(high / low) / math.log(MARGIN)) ** 2
    if needed <= tasks:
        repair = (
            "More tasks (--tasks) may not decide it, because the noise scale lies between B/2 and "
            "2 B or near these limits: a larger batch still increases the progress per step "
            "somewhat."
        )
    else:
        count = power_of_two(needed)
        repair = (
            f"Measure about {count} tasks (--tasks {count}), for an interval whose ends differ by "
            "a factor of 2."
        )
    return Finding("noise_scale", "info", "undecided", claim, repair, (scale, mean))


def _too_wide(scale: Row) -> Finding:
    high = "infinity" if scale.high is None else number(scale.high)
    claim = (
        f"The noise scale lies in [{number(scale.low)}, {high}] tasks: the interval is too wide to "
        "tell whether B is large enough."
    )
    repair = "Measure four times as many tasks (--tasks)."
    return Finding("noise_unclear", "info", "undecided", claim, repair, (scale,))


def _no_signal(table: Rows, mean: Row) -> Finding:
    needed = from_table(table, "tasks_to_detect")
    claim = (
        f"The mean meta-gradient is not distinguishable from zero: |E g|^2 = {number(mean.value)} "
        f"{interval(mean)}. No noise scale is stated."
    )
    if needed and needed[0].value is not None:
        count = power_of_two(needed[0].value)
        repair = f"Measure about {count} tasks (--tasks {count}) to distinguish it from zero."
    else:
        repair = (
            "Measure more tasks (--tasks); if that doesn't help, theta may be a stationary point."
        )
    return Finding("no_signal", "info", "undecided", claim, repair, (mean, *needed))


def _scale_text(scale: Row) -> str:
    if scale.value is None or scale.high is None:
        return f"{number(scale.low)} tasks or more"
    return f"{number(scale.value)} tasks {interval(scale)}"


def _progress_text(scale: Row, batch: int) -> str:
    """Return the progress of a step at B over that of a step without noise, with its interval."""
    most = 1 / (1 + (scale.low or 0.0) / batch)
    if scale.value is None or scale.high is None:
        return (
            f" A step at B = {batch} makes at most {100 * most:.0f} % of the progress of a step "
            "without noise."
        )
    value, least = (1 / (1 + each / batch) for each in (scale.value, scale.high))
    return (
        f" At B = {batch} the signal-to-noise ratio is {number(batch / scale.value)} "
        f"[{number(batch / scale.high)}, {number(batch / (scale.low or math.inf))}], and a step "
        f"makes about {100 * value:.0f} % [{100 * least:.0f}, {100 * most:.0f}] of the progress of "
        "a step without noise."
    )


def power_of_two(tasks: float) -> int:
    """Return the smallest power of two that is at least `tasks`.

    >>> power_of_two(600)
    1024
    """
    return 1 << math.ceil(math.log2(max(tasks, 1.0)))
