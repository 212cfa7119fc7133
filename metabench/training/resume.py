"""What a training leaves on disk: theta for anybody, and the state from which it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabench.outer_loop.trainer import Trainer
from metabench.records.checksummed_tensors import read_checksummed, write_checksummed
from metabench.records.rows import Row, differences
from metabench.settings.errors import InvalidInput
from metabench.settings.fields import settings

Spec = Mapping[str, Any]


def state_path(save: Path) -> Path:
    """Give the file beside theta that holds the optimizer's state and the log."""
    return save.with_suffix(".state.safetensors")


def replay_path(save: Path) -> Path:
    """Give the file of what was recorded where training stopped."""
    return save.with_suffix(".replay.safetensors")


def save_checkpoint(save: Path, trainer: Trainer, spec: Spec, rows: list[Row]) -> None:
    """Write the state, then theta by name; a kill in between loses neither.

    Raises:
        OSError: if the disk is full; what was kept before is as it was.
    """
    tensors, plain = trainer.state()
    about = {"spec": spec, "rows": [row._asdict() for row in rows], **plain}
    write_checksummed(state_path(save), tensors, about)
    layout = trainer.subject.problem.layouts.theta
    named = layout.unflatten(trainer.theta)
    shapes = {name: list(shape) for name, shape in zip(layout.names, layout.shapes, strict=True)}
    told = {part: current_spec(spec, trainer)[part] for part in ("algo", "family")}
    write_checksummed(save, named, {**told, "step": trainer.step, "shapes": shapes, "spec": spec})


def current_spec(spec: Spec, trainer: Trainer) -> dict[str, Any]:
    """Give a training's settings with its algorithm as it is in this epoch."""
    started, now = trainer.subject.algorithm, trainer.current_subject.algorithm
    if now == started:
        return dict(spec)
    return {**spec, "algo": {**spec["algo"], **settings(now)}}


def restore(save: Path, trainer: Trainer, spec: Spec) -> list[Row]:
    """Bring a trainer to where the same command was killed; give the rows measured till then.

    Raises:
        InvalidInput: if the files are of another training, which field says, or damaged.
    """
    state = state_path(save)
    if not state.is_file():
        if save.exists():
            raise InvalidInput(
                f"{save} exists, but not {state.name}, from which its training would go on; give "
                "--save another name, or start from it with --theta."
            )
        return []
    tensors, about = read_checksummed(state)
    if "spec" not in about or "theta" not in tensors:
        raise InvalidInput(f"{state} is not a state of training; give --save another name.")
    differing = differences(about["spec"], spec)
    if differing:
        raise InvalidInput(
            f"{state.name} is of another training: {'; '.join(differing)}. Give --save another "
            "name, or take the settings of before."
        )
    if len(tensors["log"]) > trainer.steps:
        raise InvalidInput(
            f"{save} is at step {len(tensors['log'])} already; --steps {trainer.steps} is fewer."
        )
    trainer.restore(tensors, about)
    return [Row(**row) for row in about["rows"]]


def saved_engine(save: Path) -> str:
    """Give the engine of a training that goes on, which a longer one would choose otherwise.

    Raises:
        InvalidInput: if its state is damaged.
    """
    if not state_path(save).is_file():
        return ""
    engine: str = (
        read_checksummed(state_path(save))
        .about.get("spec", {})
        .get("compute", {})
        .get("engine", "")
    )
    return engine
