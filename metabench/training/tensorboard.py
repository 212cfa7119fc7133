"""A training's table as TensorBoard's scalars, for those whose other runs are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput


def require() -> Any:
    """Import TensorBoard's writer.

    Raises:
        InvalidInput: if it isn't installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidInput(
            "--tensorboard needs the package tensorboard, which isn't installed; "
            "pip install 'metabench[tensorboard]', or leave the option out: the table holds all."
        ) from error
    return SummaryWriter


ELSEWHERE = ("began", "check")  # quantities whose `at` is no outer step


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write every number that has an outer step, an interval's ends beside it."""
    rows = [each for each in rows if each.quantity not in ELSEWHERE]
    with require()(str(folder)) as writer:
        for each in rows:
            name = "/".join(filter(None, (each.quantity.replace(": ", "/"), each.of)))
            for tag, value in ((name, each.value), (f"{name} low", each.low),
                               (f"{name} high", each.high)):  # fmt: skip
                if each.at is not None and value is not None:
                    writer.add_scalar(tag, value, int(each.at))
