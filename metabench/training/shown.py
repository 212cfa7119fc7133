"""A training as a probe: measured, read for findings and drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.probes.base import Drawing, Probe, Progress, no_progress
from metabench.records.rows import Finding, Row, row
from metabench.training.find import find
from metabench.training.points import points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.estimation.estimator_on_tasks import Subject

MOST_PROBE_FIGURES = 8  # of quantities measured by probes during training


@dataclass(frozen=True)
class Training(Probe):
    """Train theta, and report whether training made progress.

    (Finn, Abbeel & Levine, 2017, https://arxiv.org/abs/1703.03400), algorithm 1.
    """

    steps: int = 1000  # outer steps [steps]
    every: int = 100  # steps from one validation to the next [steps]
    outer: OuterOptimizer = field(default_factory=OuterOptimizer)  # how theta is moved

    axis: ClassVar[str] = "step"
    meanings: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of right predictions on held-out tasks after adaptation",
        "chance_accuracy": "accuracy of the best constant prediction on each held-out task",
        "gain": "validation loss at the start minus that at the end [loss]",
        "seconds_a_step": "median time of an outer step [seconds]",
        "stopped": "step at which training stopped, and why",
        "steps": "outer steps taken [steps]",
    }
    shown: ClassVar[tuple[str, ...]] = ("loss", "validation")
    question: ClassVar[str] = "Is meta-training making progress?"
    caption: ClassVar[str] = (
        "Query loss after adaptation at each outer step: the training loss, a mean over the tasks "
        "of a window of steps, and the validation loss, a mean over held-out tasks with 95 % "
        "intervals."
    )

    def measure(self, subject: Subject, seed: int, progress: Progress = no_progress) -> list[Row]:
        """Train, and return the rows of the log and of the validations; theta is not kept."""
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
        """Return findings on whether training stopped, diverged, overfitted or made progress."""
        return find(table)

    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw training and validation loss."""
        lines = {"loss": "training loss", "validation": "validation loss"}
        for quantity, label in lines.items():
            _draw_series(table, quantity, axes, label)
        values = [point.value for quantity in lines for point in points(table, quantity)]
        if min(values, default=0.0) > 0:
            axes.set_yscale("log")
        axes.set(xlabel="outer step", ylabel="query loss after adaptation")
        axes.legend(frameon=False)

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Add the gradient norm and the quantities measured by probes, each over the outer step."""
        probed = [name for name in dict.fromkeys(table["quantity"]) if ": " in name]
        shown = [name for name in ("gradient_norm", *probed) if len(points(table, name)) > 1]
        return super().drawings(table) + [
            _drawing(table, name) for name in shown[: 1 + MOST_PROBE_FIGURES]
        ]


def _drawing(table: pd.DataFrame, quantity: str) -> Drawing:
    words = quantity.replace("_", " ")

    def draw(axes: Axes) -> None:
        _draw_series(table, quantity, axes, words)
        axes.set(xlabel="outer step", ylabel=words)

    caption = "Values at outer steps, with 95 % intervals if they were measured."
    return Drawing(f"{words[:1].upper()}{words[1:]} during training", caption, draw)


def _draw_series(table: pd.DataFrame, quantity: str, axes: Axes, label: str) -> None:
    found = points(table, quantity)
    at = [point.at for point in found]
    marker = "." if len(found) < 60 else ""
    (line,) = axes.plot(at, [point.value for point in found], label=label, marker=marker)
    low, high = [point.low for point in found], [point.high for point in found]
    axes.fill_between(at, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
