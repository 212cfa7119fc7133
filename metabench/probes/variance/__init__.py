"""How noisy is the meta-gradient, and how many tasks until the signal exceeds the noise?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from metabench.probes.base import Part, Probe, Progress, no_progress
from metabench.probes.variance.meanings import MEANINGS
from metabench.records.rows import Row
from metabench.settings import amounts, registry
from metabench.settings.errors import InvalidInput, check_limits, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop")
FEWEST_BATCHES = 16  # at each B, and redrawn tasks: fewer give useless intervals


@dataclass(frozen=True)
class Variance(Probe):
    """Variance of the meta-gradient by batch size, and noise scale.

    The variance is measured at every B on fresh, disjoint batches; noise equals signal at the noise
    scale tr Cov(g) / |E g|^2, in tasks.
    (McCandlish, Kaplan, Amodei & OpenAI Dota Team, 2018, https://arxiv.org/abs/1812.06162).

    >>> import metabench as mb
    >>> mb.Variance(tasks=64, batches=16).plan  # B: the number of batches
    {1: 64, 2: 16, 4: 16}
    """

    tasks: int = 4096  # tasks at B = 1, and the most at any other B [tasks]
    batches: int = 128  # maximum number of batches at each B above 1 [batches]
    sizes: tuple[int, ...] = ()  # values of B; empty: powers of 2 up to 64 and tasks / 16 [tasks]
    batch: int = 25  # your task batch B, to which findings refer [tasks]
    redrawn_tasks: int = 512  # tasks to redraw, for sources and biases; 0: none [tasks]
    shot_multiples: int = 16  # most shots for the objective gap, as a multiple; 0: none [1]
    memory: str = "half"  # memory limit: 4GiB, or half of what is free [bytes]
    budget: str = ""  # time or tasks of one meta-gradient, for advice: 30s or 200tasks; empty: none
    clip_norm: float = math.inf  # outer clipping: largest norm of a batch's mean [gradient norm]
    clip_value: float = math.inf  # outer clipping: largest entry of a batch's mean [gradient entry]
    outer_optimizer: str = ""  # optimizer whose updates are measured: sgd, adam, ..; empty: none
    compare_with: tuple[str, ...] = ()  # further algorithms with this inner loop [algorithms]

    options: ClassVar[tuple[str, ...]] = ("memory",)
    version: ClassVar[int] = 4
    axis: ClassVar[str] = "B"
    axes: ClassVar[Mapping[str, str]] = {"bias/objective": "times the shots"}
    meanings: ClassVar[Mapping[str, str]] = MEANINGS
    headline: ClassVar[tuple[str, ...]] = (
        *("noise_scale", "task_variance", "mean_norm_squared", "slope"),
        *("bias, estimator", "bias, objective", "amplification", "tail_index"),
    )
    table_quantities: ClassVar[dict[str, str]] = {
        "noise_scale": "low",
        "task_variance": "",
        "mean_norm_squared": "",
        "bias, estimator": "low",
        "amplification": "low",
    }
    x_axis_quantities: ClassVar[tuple[str, ...]] = ("variance", "snr")
    shown: ClassVar[tuple[str, ...]] = (
        "variance",
        "slope",
        "mean_norm_squared",
        "noise_scale",
        "snr",
    )
    intervals: ClassVar[str] = (
        "Variances: jackknife of the logarithm over tasks, t quantiles (over batches above B = 1); "
        "noise scale and signal-to-noise: Fieller's method on jackknife errors; slope: weighted "
        "least squares on jackknife errors; components and shares: jackknife over tasks, corrected "
        "for skewness; biases: score intervals; "
        "share that diverged: exact binomial. Coverage: reports/variance_calibration."
    )
    splittable: ClassVar[bool] = True
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"tasks": 512, "batches": 64, "redrawn_tasks": 128},
        {"tasks": 2048, "redrawn_tasks": 256},
    )
    causes: ClassVar[Mapping[str, str]] = {
        "diverged": "growth",
        "overflow": "growth",
        "amplification": "growth",
        "finite_pool": "sampling",
        "heavy_tail": "tails",
        "dependent_tasks": "sampling",
        "dominant_source": "source",
        "no_variation": "gradient",
        "no_signal": "batch",
        "noise_unclear": "batch",
        "noise_scale": "batch",
        "objective_gap": "shots",
        "claim_refuted": "estimator",
        "estimator_bias": "estimator",
        "clipping": "outer",
        "advice": "source",
    }
    question: ClassVar[str] = "How noisy is the meta-gradient, and is B large enough?"
    caption: ClassVar[str] = (
        "Variance of the meta-gradient, measured on fresh batches of B tasks, with 95 % intervals. "
        "The variance over independent tasks follows the dashed 1/B line. The dotted line is the "
        "signal, the squared norm of the mean meta-gradient; the two cross at the noise scale, and "
        "larger batches have more signal than noise. Signal-to-noise is B |E g|² / tr Cov(g), a "
        "ratio of powers."
    )

    def __post_init__(self) -> None:
        """Validate batch sizes, sample sizes, limits and names."""
        self._check_samples()
        amounts.memory(self.memory)
        check_limits(clip_norm=self.clip_norm, clip_value=self.clip_value)
        self._check_names()
        self._check_budget()
        self._check_tasks()

    def _check_samples(self) -> None:
        given = min((self.batch, *self.sizes))
        if given < 1:
            raise InvalidInput(f"B is {given}; it must be at least 1 task.")
        if self.batches < FEWEST_BATCHES:
            raise InvalidInput(
                f"batches is {self.batches}; it must be at least {FEWEST_BATCHES} for an interval."
            )
        if self.redrawn_tasks and not self.redrawn_tasks >= FEWEST_BATCHES:
            raise InvalidInput(
                f"redrawn_tasks is {self.redrawn_tasks}; "
                f"it must be at least {FEWEST_BATCHES}, or 0 for none."
            )
        if self.shot_multiples and self.shot_multiples < 4:
            raise InvalidInput(
                f"shot_multiples is {self.shot_multiples}; "
                "it must be at least 4, or 0 for no many-shot limit."
            )

    def _check_names(self) -> None:
        if self.outer_optimizer and self.outer_optimizer not in OPTIMIZERS:
            raise unknown("outer optimizer", self.outer_optimizer, OPTIMIZERS)
        members = registry.members("algorithms")
        for name in self.compare_with:
            if name not in members and ":" not in name:
                raise unknown("algorithm", name, members)

    def _check_budget(self) -> None:
        if not self.budget:
            return
        amounts.budget(self.budget)
        if not self.redrawn_tasks:
            raise InvalidInput("Advice on a budget needs redraws; set probe.redrawn_tasks above 0.")

    def _check_tasks(self) -> None:
        largest = max(self.sizes, default=2)
        if self.tasks < FEWEST_BATCHES * largest:
            raise InvalidInput(
                f"tasks is {self.tasks}; an interval at B = {largest} needs {FEWEST_BATCHES} "
                f"disjoint batches: give --tasks {FEWEST_BATCHES * largest} or more"
                + (", or smaller probe.sizes." if self.sizes else ".")
            )

    @property
    def clips(self) -> bool:
        """Whether outer-loop clipping is measured."""
        return min(self.clip_norm, self.clip_value) < math.inf

    @property
    def plan(self) -> dict[int, int]:
        """Number of disjoint batches for each B, which always include B = 1."""
        powers = [2**i for i in range(7) if 2**i * FEWEST_BATCHES <= self.tasks]
        sizes = sorted({1, *(self.sizes or powers)})
        return {B: self.tasks if B == 1 else min(self.tasks // B, self.batches) for B in sizes}

    @property
    def n_redraws(self) -> int:
        """Number of tasks that are redrawn, at most half of all."""
        return min(self.redrawn_tasks, self.tasks // 2) if self.redrawn_tasks else 0

    def measure_part(self, subject: Subject, seed: int, part: Part) -> dict[str, NDArray[Any]]:
        """Return one part of the meta-gradients at each B, `(batches, Q)` by B."""
        from metabench.probes.variance.measure_part import measure_part

        return measure_part(self, subject, seed, part)

    def merge(
        self,
        subject: Subject,
        seed: int,
        parts: Sequence[Mapping[str, NDArray[Any]]],
        progress: Progress = no_progress,
    ) -> list[Row]:
        """Return the rows of `measure` from all parts; redraws are measured here."""
        from metabench.probes.variance.measure import measure

        return measure(self, subject, seed, progress, parts)
