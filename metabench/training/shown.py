"""A training as something that is measured, read and drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.probes.base import Drawing, Probe, Progress, silent
from metabench.records.rows import Finding, Row, row
from metabench.training.find import find
from metabench.training.points import points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.estimation.estimator_on_tasks import Subject

MOST = 8  # trajectories of probes that are drawn


@dataclass(frozen=True)
class Training(Probe):
    """Train theta, and say whether that went well.

    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), algorithm 1.
    """

    steps: int = 1000  # outer steps [steps]
    every: int = 100  # steps from one validation to the next [steps]
    outer: OuterOptimizer = field(default_factory=OuterOptimizer)  # how theta is moved

    axis: ClassVar[str] = "step"
    question: ClassVar[str] = "Does meta-training get anywhere?"
    caption: ClassVar[str] = (
        "Outer loss after adaptation against the outer step: the mean over the tasks of a window "
        "of training steps, and on held-out tasks with 95 % intervals."
    )

    def measure(self, subject: Subject, seed: int, progress: Progress = silent) -> list[Row]:
        """Train and give the log and the validations; theta itself is left behind."""
        from metabench.outer_loop.trainer import Trainer
        from metabench.training.measure import log_rows, validate_and_probe

        trainer = Trainer(subject, self.outer, self.steps, seed)
        rows = validate_and_probe(trainer, ())
        while trainer.step < self.steps and trainer.advance():
            progress(trainer.step, self.steps)
            if trainer.step % self.every == 0 or trainer.step == self.steps:
                rows += validate_and_probe(trainer, ())
        return [*log_rows(trainer, self.every), *rows, row("gain", trainer.gain())]

    def find(self, table: pd.DataFrame) -> list[Finding]:
        """Say where training diverged, or how far it came."""
        return find(table)

    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw training and validation loss."""
        lines = {"loss": "training", "validation": "held-out tasks"}
        for quantity, label in lines.items():
            _trajectory(table, quantity, axes, label)
        values = [point.value for quantity in lines for point in points(table, quantity)]
        if min(values, default=0.0) > 0:
            axes.set_yscale("log")
        axes.set(xlabel="outer step", ylabel="outer loss")
        axes.legend(frameon=False)

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Add a trajectory of the gradient's norm and of what probes measured on the way."""
        probed = [name for name in dict.fromkeys(table["quantity"]) if ": " in name]
        shown = [name for name in ("gradient_norm", *probed) if len(points(table, name)) > 1]
        return super().drawings(table) + [_drawing(table, name) for name in shown[: 1 + MOST]]


def _drawing(table: pd.DataFrame, quantity: str) -> Drawing:
    words = quantity.replace("_", " ")

    def draw(axes: Axes) -> None:
        _trajectory(table, quantity, axes, words)
        axes.set(xlabel="outer step", ylabel=words)

    caption = "Against the outer step, with 95 % intervals where they can be had."
    return Drawing(f"{words[:1].upper()}{words[1:]} along the training", caption, draw)


def _trajectory(table: pd.DataFrame, quantity: str, axes: Axes, label: str) -> None:
    found = points(table, quantity)
    at = [point.at for point in found]
    marker = "." if len(found) < 60 else ""
    (line,) = axes.plot(at, [point.value for point in found], label=label, marker=marker)
    low, high = [point.low for point in found], [point.high for point in found]
    axes.fill_between(at, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
