"""Settings of a study besides those of its members."""

from __future__ import annotations

import math
from dataclasses import dataclass

from metabench.settings.errors import InvalidInput, inside

PLAIN = ("seed", "dtype", "device", "theta")  # those that may be axes
MOST_PARTS = 10_000  # of one cell
LONGEST_TIMEOUT = 1e9  # about 32 years [seconds]


@dataclass(frozen=True)
class Plain:
    """Settings of a study besides those of its members."""

    seed: int = 0  # seed of all draws [1]
    dtype: str = "float32"  # float32 or float64
    device: str = "cpu"  # cpu or cuda
    theta: str = ""  # file of a trained theta, relative to the study file; "": the initial one
    timeout: float = math.inf  # limit for a cell, or for a part of one [seconds]
    split: int = 1  # number of parts of each cell, if its probe can be split [parts]

    def __post_init__(self) -> None:
        """Validate split and timeout."""
        if not 1 <= self.split <= MOST_PARTS:
            with inside("split"):
                raise InvalidInput(
                    f"split is {self.split}; give the number of parts of each cell, 1 to "
                    f"{MOST_PARTS:,}."
                )
        if not (0 < self.timeout <= LONGEST_TIMEOUT or self.timeout == math.inf):
            with inside("timeout"):
                raise InvalidInput(
                    f"timeout is {self.timeout:g}; give the seconds that a cell may take, more "
                    f"than 0 and at most {LONGEST_TIMEOUT:g}, or leave it out for no limit."
                )
