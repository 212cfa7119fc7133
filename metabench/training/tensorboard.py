"""Export of a training's table as TensorBoard scalars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metabench.records.rows import Row
from metabench.settings.errors import InvalidInput


def require() -> Any:
    """Return TensorBoard's `SummaryWriter` class.

    Raises:
        InvalidInput: if it isn't installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InvalidInput(
            "--tensorboard needs the package tensorboard, which is not installed: pip install "
            "'metabench[tensorboard]'. Without the option, table.csv holds the same numbers."
        ) from error
    return SummaryWriter


NOT_BY_OUTER_STEP = ("began", "check")  # quantities whose `at` is not an outer step


def write(folder: Path, rows: Sequence[Row]) -> None:
    """Write each value that has an outer step, and the ends of its interval, as scalars."""
    rows = [each for each in rows if each.quantity not in NOT_BY_OUTER_STEP]
    with require()(str(folder)) as writer:
        for each in rows:
            name = "/".join(filter(None, (each.quantity.replace(": ", "/"), each.of)))
            for tag, value in ((name, each.value), (f"{name} low", each.low),
                               (f"{name} high", each.high)):  # fmt: skip
                if each.at is not None and value is not None:
                    writer.add_scalar(tag, value, int(each.at))
