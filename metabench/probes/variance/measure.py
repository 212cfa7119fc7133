"""Call the estimator at every B on fresh, disjoint batches, and sum up what it gave."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from metabench import stats
from metabench.probes.probe import Progress
from metabench.problem import Address
from metabench.rows import Row, row
from metabench.stats import Interval, Moments

if TYPE_CHECKING:
    from metabench.probes.variance import Variance
    from metabench.subject import Subject

TIMED_CALLS = 3
# The 1/B law is called refuted, and what rests on it withheld, only beyond this level: at 95 % one
# healthy run in twenty would be accused.
REFUTED = 0.999
# A spread below this many roundings of the mean is arithmetic, not noise.
ROUNDINGS = 100


def measure(probe: Variance, subject: Subject, seed: int, progress: Progress) -> list[Row]:
    """Measure the variance at each B and, from the tasks of B = 1, the noise scale."""
    plan = probe.plan
    total = sum(B * batches for B, batches in plan.items())
    samples: dict[int, Moments] = {}
    rows: list[Row] = []
    start = 0
    for B, batches in plan.items():
        address = Address.fresh(start, B * batches)
        grads, done = [], start
        for means in subject.estimates(address, seed, B):
            grads.append(means.double().cpu().numpy())
            done += B * len(means)
            progress(done, total)
        start += B * batches
        sample = np.concatenate(grads)
        rows.append(_diverged(B, sample))
        if B == 1 and rows[-1].value:
            first = int(address.task[~np.isfinite(sample).all(1)][0])
            rows.append(Row("first_diverged", value=float(first)))
        samples[B] = Moments.of(sample)
    eps = torch.finfo(subject.theta.dtype).eps
    states = {B: _status(moments, eps) for B, moments in samples.items()}
    rows += [_variance("variance", samples[B], states[B], at=float(B)) for B in plan]
    slope = _slope(samples, states)
    rows += [slope, *_signal(samples, states[1], refuted=slope.status == "refuted")]
    rows += [_seconds(subject, seed, B, start) for B in plan]
    return rows


def _diverged(B: int, sample: stats.Vector) -> Row:
    """Count the batches whose estimate has a NaN or an infinity."""
    hits = int((~np.isfinite(sample).all(1)).sum())
    status = "diverged" if hits else "ok"
    return row("diverged", stats.share_interval(hits, len(sample)), status, at=float(B))


def _status(moments: Moments, eps: float) -> str:
    """Say what keeps a sample from having a variance, if anything does."""
    if not np.isfinite(moments.deviations).all():
        return "diverged"
    round_off = (ROUNDINGS * eps) ** 2 * moments.mean_squared
    return "ok" if moments.variance > round_off else "degenerate"


def _variance(quantity: str, moments: Moments, status: str, **where: float) -> Row:
    if status == "degenerate":
        return row(quantity, Interval(moments.variance, math.nan, math.nan), status, **where)
    return row(quantity, stats.variance_interval(moments), status, **where)


def _slope(samples: dict[int, Moments], states: dict[int, str]) -> Row:
    """Fit the slope of log variance on log B; `refuted` where -1 is beyond belief."""
    if len(samples) < 2:
        return Row("slope", status="withheld")
    failed = [state for state in states.values() if state != "ok"]
    if failed:
        return Row("slope", status=failed[0])
    line = stats.log_slope(np.array(list(samples), float), list(samples.values()))
    wide = line.interval(REFUTED)
    status = "ok" if wide.low <= -1 <= wide.high else "refuted"
    return row("slope", line.interval(), status)


def _signal(samples: dict[int, Moments], status: str, refuted: bool) -> list[Row]:
    """Give what the tasks of B = 1 say: variance, squared mean, noise scale, SNR at each B."""
    moments = samples[1]
    rows = [_variance("task_variance", moments, status)]
    mean = stats.mean_norm_interval(moments)
    rows.append(row("mean_norm_squared", mean, "diverged" if status == "diverged" else "ok"))
    if status != "ok" or refuted:
        status = "withheld" if refuted else status
        return [
            *rows,
            Row("noise_scale", status=status),
            *(Row("snr", at=float(B), status=status) for B in samples),
        ]
    scale = stats.noise_scale_interval(moments)
    resolved = mean.low > 0
    if not resolved:
        rows[-1] = rows[-1]._replace(status="unresolved")
        needed = stats.tasks_to_detect(moments)
        rows.append(row("tasks_to_detect", Interval(needed, math.nan, math.nan)))
    rows.append(row("noise_scale", scale, "ok" if math.isfinite(scale.high) else "unbounded"))
    for B in samples:
        ratio = Interval(B / scale.value, B / scale.high, B / scale.low if scale.low else math.inf)
        rows.append(row("snr", ratio, at=float(B)))
    return rows


def _seconds(subject: Subject, seed: int, B: int, start: int) -> Row:
    """Time one meta-gradient over B fresh tasks, sampling included: the median of a few calls."""
    seconds = []
    for call in range(TIMED_CALLS):
        address = Address.fresh(start + call * B, B)
        _synchronise(subject.theta)
        begun = time.perf_counter()
        for _ in subject.estimates(address, seed, B):
            pass
        _synchronise(subject.theta)
        seconds.append(time.perf_counter() - begun)
    return Row("seconds", at=float(B), value=float(np.median(seconds)))


def _synchronise(theta: torch.Tensor) -> None:
    if theta.is_cuda:
        torch.cuda.synchronize(theta.device)
