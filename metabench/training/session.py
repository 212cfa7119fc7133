"""A training session: resumes from its checkpoint, pauses for probes, returns a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from metabench.probes.base import Progress, no_progress
from metabench.probes.verify import Verify
from metabench.records.rows import Row
from metabench.settings.interrupts import WholeSteps
from metabench.settings.user_errors import user_errors
from metabench.training import resume
from metabench.training.measure import log_rows, validate_and_probe
from metabench.training.plan import Plan
from metabench.training.result import Trained, trained

PROGRESS_SECONDS = 0.1  # between progress reports, which cost more than a small step


class Session:
    """A training in progress.

    With a file to save theta in, every pause writes a checkpoint, and a new session of the same
    plan and file resumes from the last one, with the same numbers.
    """

    def __init__(self, plan: Plan, save: Path | None = None) -> None:
        """Start the training, or resume it from its checkpoint.

        Raises:
            InvalidInput: if the checkpoint is damaged or of other settings.
        """
        self.plan = plan.with_fixed_engine(resume.saved_engine(save) if save else "")
        self.save, self.spec = save, self.plan.spec
        self.trainer = self.plan.trainer()
        self.rows: list[Row] = resume.restore(save, self.trainer, self.spec) if save else []
        self._kept: int | None = self.trainer.step or None  # step of the last checkpoint

    @property
    def failed(self) -> bool:
        """Whether training stopped at an unusable meta-gradient."""
        return self.trainer.failure is not None

    @property
    def rows_by_step(self) -> list[Row]:
        """Rows of the log in windows, then those measured at pauses."""
        return [*log_rows(self.trainer, self.plan.every), *self.rows]

    def train(
        self, progress: Progress = no_progress, waiting: Callable[[], None] = lambda: None
    ) -> Trained:
        """Train to the end, or to the first step that fails, and return the result.

        A first SIGINT or SIGTERM waits for the end of the step and saves a checkpoint; the second
        does neither.

        Args:
            progress: called with steps done and in all.
            waiting: called when a signal waits for the end of a step.
        """
        with user_errors():
            return self._trained(progress, waiting)

    def _trained(self, progress: Progress, waiting: Callable[[], None]) -> Trained:
        trainer = self.trainer
        if not self.rows:
            self.rows += Verify(thorough=False).measure(trainer.subject, trainer.seed)
        with WholeSteps(waiting) as whole:
            try:
                self._steps(progress, whole)
            except KeyboardInterrupt as stopped:
                self._keep_interrupted(stopped, whole.torn)
                raise
        progress(trainer.steps, trainer.steps)
        self.rows += [*self.plan.cell.theta_differences(), *trainer.examine()]
        self._keep_failure()
        return trained(self.plan, self.spec, trainer, self.rows_by_step)

    def _steps(self, progress: Progress, whole: WholeSteps) -> None:
        """Take outer steps, and pause for validation and probes where due."""
        trainer, reported = self.trainer, 0.0
        paused = {row.at for row in self.rows if row.quantity == "validation"}
        while True:
            step = trainer.step
            if self._due(step) and step not in paused:
                self.rows += validate_and_probe(trainer, list(self.plan.probes.items()))
                self._keep()
            if step == trainer.steps or not whole.step(trainer.advance):
                return
            if time.monotonic() - reported > PROGRESS_SECONDS:
                progress(trainer.step, trainer.steps)
                reported = time.monotonic()

    def _due(self, step: int) -> bool:
        return step % self.plan.every == 0 or step == self.trainer.steps

    def _keep(self) -> None:
        if self.save:
            resume.save_checkpoint(self.save, self.trainer, self.spec, self.rows)
            self._kept = self.trainer.step

    def _keep_interrupted(self, stopped: KeyboardInterrupt, torn: bool) -> None:
        """Save the state unless a step was interrupted, and say at which step it is saved."""
        if not torn:
            self._keep()
        if self.save and self._kept is not None:
            stopped.add_note(f"The training is saved at step {self._kept} in {self.save}.")

    def _keep_failure(self) -> None:
        """Save the recording that `metabench replay` needs."""
        failure = self.trainer.failure
        if failure and self.save:
            about = {
                "spec": resume.current_spec(self.spec, self.trainer),
                "kind": failure.kind,
                "norm": str(failure.norm),
            }
            self.save.parent.mkdir(exist_ok=True)  # the run's folder, if no step was saved
            self.trainer.ring.save(resume.replay_path(self.save), failure.tasks, about)
