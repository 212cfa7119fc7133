"""Checkpoints of a training: theta for any tool, and the state from which it resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabench.outer_loop.trainer import Trainer
from metabench.records.checksummed_tensors import (
    of_its_kind,
    read_checksummed,
    write_checksummed,
)
from metabench.records.rows import Row, differences
from metabench.settings.errors import InvalidInput
from metabench.settings.fields import settings

Spec = Mapping[str, Any]


def state_path(save: Path) -> Path:
    """Return the path of the optimizer's state and the log, beside theta."""
    return save.with_suffix(".state.safetensors")


def replay_path(save: Path) -> Path:
    """Return the path of the recording of a step at which training stopped."""
    return save.with_suffix(".replay.safetensors")


def save_checkpoint(save: Path, trainer: Trainer, spec: Spec, rows: list[Row]) -> None:
    """Write the state, then theta by name; a kill in between loses neither.

    Args:
        save: file of theta.
        trainer: its state is saved.
        spec: settings that determine theta, by which a resumed training is checked.
        rows: measured so far; they are kept with the state.

    Raises:
        OSError: if the disk is full; the previous checkpoint is unchanged.
    """
    tensors, plain = trainer.state()
    about = {"spec": spec, "rows": [row._asdict() for row in rows], **plain}
    save.parent.mkdir(exist_ok=True)  # the run's folder, at the first checkpoint
    write_checksummed(state_path(save), tensors, about)
    layout = trainer.subject.problem.layouts.theta
    named = layout.unflatten(trainer.theta)
    shapes = {name: list(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)}
    trained_on = {part: current_spec(spec, trainer)[part] for part in ("algo", "family")}
    write_checksummed(
        save, named, {**trained_on, "step": trainer.step, "shapes": shapes, "spec": spec}
    )


def current_spec(spec: Spec, trainer: Trainer) -> dict[str, Any]:
    """Return a training's settings with the algorithm of the current epoch."""
    first, now = trainer.subject.algorithm, trainer.current_subject.algorithm
    if now == first:
        return dict(spec)
    return {**spec, "algo": {**spec["algo"], **settings(now)}}


def restore(save: Path, trainer: Trainer, spec: Spec) -> list[Row]:
    """Restore a trainer from its last checkpoint, if there is one.

    Args:
        save: file of theta.
        trainer: at step 0; it is moved to the step of the checkpoint.
        spec: settings that determine theta; the checkpoint's must be equal.

    Returns:
        The rows measured before the checkpoint.

    Raises:
        InvalidInput: if the files are damaged or of other settings; the message names the fields.
    """
    state = state_path(save)
    if not state.is_file():
        if save.exists():
            raise InvalidInput(
                f"{save} exists without {state.name}, so its training can't be resumed. Give "
                "--save another name, or start from this theta with --theta."
            )
        return []
    tensors, about = read_checksummed(state)
    if "spec" not in about or "theta" not in tensors:
        raise InvalidInput(f"{state} is not a saved training state; give --save another name.")
    with of_its_kind(state.name):
        differing = differences(about["spec"], spec)
    if differing:
        raise InvalidInput(
            f"{state.name} belongs to a training run with other settings: {'; '.join(differing)}. "
            "Give --save another name, or use those settings."
        )
    with of_its_kind(state.name):
        if len(tensors["log"]) > trainer.steps:
            raise InvalidInput(
                f"{save} is already at step {len(tensors['log'])}; --steps is only {trainer.steps}."
            )
        trainer.restore(tensors, about)
        return [Row(**row) for row in about["rows"]]


def saved_engine(save: Path) -> str:
    """Return the engine of a training to be resumed; "" where there is no checkpoint.

    Raises:
        InvalidInput: if the saved state is damaged.
    """
    if not state_path(save).is_file():
        return ""
    about = read_checksummed(state_path(save)).about
    with of_its_kind(state_path(save).name):
        engine: str = about.get("spec", {}).get("compute", {}).get("engine", "")
        return engine
