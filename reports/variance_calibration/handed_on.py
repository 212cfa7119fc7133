"""What should the rows on clipped gradients and on updates hold? The truth is that of a large pool.

A pool is many batch means that no repetition measures, from addresses of their own: its moments
are known many times more closely than those of a repetition. An update depends on the optimizer's
state, which a repetition's own first batches make; so the pool is given that same state each time.
The mean of unclipped gradients is a closed form.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from metabench import MAML, SGD, Address, Quadratic, Subject, Variance, Vectorization
from metabench.autodiff.clipping import clipped
from metabench.outer_loop.optimizer_updates import updates
from metabench.probes.variance import measure_outer_optimizer
from metabench.stats.moments import Moments

POOL = {1: 2**18, 4: 2**16, 16: 2**16}  # batch means of each B: 128 times those measured, or more
FAR = 2**30  # where their addresses begin
STATES = 2**16  # of them that are given to an optimizer's state, in every repetition
APART = 10_000  # seeds between two settings, so that one unlucky draw doesn't count against all
SIZES = tuple(POOL)
FAMILY = Quadratic(dim=8, shots=3, queries=3)


class Setting(NamedTuple):
    """What the outer loop does to a batch's mean, and on how many tasks it is measured."""

    name: str
    clip_norm: float = np.inf
    clip_value: float = np.inf
    optimizer: str = ""
    tasks: int = 2048

    def probe(self) -> Variance:
        """The probe, without redraws."""
        limits = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        return Variance(
            self.tasks, sizes=SIZES, redrawn_tasks=0, outer_optimizer=self.optimizer, **limits
        )


SETTINGS = (
    Setting("clipped by norm", clip_norm=0.8),
    Setting("clipped at times", clip_norm=1.0),
    Setting("hardly clipped", clip_norm=2.0),
    Setting("one in five", clip_norm=0.9),
    Setting("clipped by value", clip_value=0.4),
    Setting("momentum", optimizer="momentum"),
    Setting("adam", optimizer="adam"),
    Setting("clipped, then rmsprop", clip_norm=0.8, optimizer="rmsprop"),
)


def _subject() -> Subject:
    theta = FAMILY.theta(0).double()
    return Subject(
        FAMILY.problem(), FAMILY.sample, MAML(1, SGD(rate=0.1)), theta, Vectorization(chunk=4096)
    )


@cache
def _pool(B: int) -> torch.Tensor:
    """Means of `POOL[B]` batches of B tasks, `(POOL[B], 8)`."""
    return torch.cat(list(_subject().estimates(Address.fresh(FAR, POOL[B] * B), 1, B)))


@cache
def _clipped(setting: Setting, B: int) -> np.ndarray:
    return clipped(_pool(B), setting.clip_norm, setting.clip_value).numpy()


@cache
def _truth_of_clipping(setting: Setting, B: int) -> dict[str, float]:
    """Give the share, variance, bias and error of clipped batches of B."""
    whole, cut = _pool(B).numpy(), _clipped(setting, B)
    moments = Moments.from_samples(cut)
    unclipped = FAMILY.truth(FAMILY.theta(0), 1, 0.1).mean  # a closed form
    bias = Moments.from_samples(cut - unclipped).mean_norm_squared
    return {
        "clipped_share": float((cut != whole).any(1).mean()),
        "clipped_variance": moments.variance,
        "clipping_bias": bias,
        "clipped_error": moments.variance + bias,
    }


def _update_variances(setting: Setting, seed: int) -> dict[int, float]:
    """Give the variance of updates at each B, from the state that the seed's own batches leave."""
    probe, start, found = setting.probe(), 0, {}
    warm = measure_outer_optimizer.warm_steps(probe)
    for B, batches in probe.plan.items():
        address = Address.fresh(start, B * warm)
        first = torch.cat(list(_subject().estimates(address, seed, B)))
        first = clipped(first, setting.clip_norm, setting.clip_value)
        many = np.vstack([first.numpy(), _clipped(setting, B)[:STATES]])
        found[B] = Moments.from_samples(updates(setting.optimizer, many, warm)).variance
        start += B * batches
    return found


def _certain(quantity: str, value: float, plan: dict[int, int], at: float) -> bool:
    """Say whether a share is so near 0 or 1 that any binomial interval holds it nearly always."""
    return quantity == "clipped_share" and min(value, 1 - value) * plan[int(at)] < 5


def _slope(variances: dict[int, float], counts: list[int]) -> float:
    """Fit log variance on log B as the probe does, weighted by the number of batches less one."""
    x, y = np.log(list(variances)), np.log(list(variances.values()))
    return float(np.polyfit(x, y, 1, w=np.sqrt(np.array(counts) - 1.0))[0])


def covered(setting: Setting, seed: int) -> Iterator[tuple[tuple[str, str, float], bool, bool]]:
    """Yield each interval's key, whether it holds the truth, and whether it is bounded."""
    probe, seed = setting.probe(), seed + APART * SETTINGS.index(setting)
    rows = probe.measure(_subject(), seed)
    truth = _truth(setting, probe, seed)
    for line in rows:
        at = line.at or 0.0
        value = None if line.layer else truth.get((line.quantity, at))
        if value is None or line.low is None or _certain(line.quantity, value, probe.plan, at):
            continue
        high = float("inf") if line.high is None else line.high
        yield (line.quantity, "", at), line.low <= value <= high, line.high is not None


def _truth(setting: Setting, probe: Variance, seed: int) -> dict[tuple[str, float], float]:
    """Give what each quantity is, by its name and B; slopes have no B."""
    updated = _update_variances(setting, seed) if setting.optimizer else {}
    after = {B: _truth_of_clipping(setting, B) for B in probe.plan} if probe.clips else {}
    counts = list(probe.plan.values())
    warm = measure_outer_optimizer.warm_steps(probe)
    truth = {(name, float(B)): value for B, each in after.items() for name, value in each.items()}
    truth |= {("update_variance", float(B)): value for B, value in updated.items()}
    if after:
        clipped_variances = {B: each["clipped_variance"] for B, each in after.items()}
        truth["clipped_slope", 0.0] = _slope(clipped_variances, counts)
    if updated:
        truth["update_slope", 0.0] = _slope(updated, [n - warm for n in counts])
    return truth
