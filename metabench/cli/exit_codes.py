"""What the number means that a command ends with, and how its help says so."""

from __future__ import annotations

REGRESSION = 1  # `compare`: B is worse than A
STOPPED = 3  # `train`: the meta-gradient could not be used any more
FAILED = 3  # `grid`: some cells could not be measured
LEFT_OUT = 3  # readers: some records aren't what was written
ENVIRONMENT = 4  # the machine broke underneath (disk full, out of memory)
INTERRUPTED = 130  # by Ctrl-C

EPILOG = "Exit codes: 0 done, 2 change the command or a path, 4 the environment broke underneath."
OF_TRAINING = (
    "Exit codes: 0 done, 2 change the command or a path, 3 training stopped because it diverged, "
    "4 the environment broke underneath."
)
OF_REPORTS = (
    "Exit codes: 0 done, 2 change the command or a path, 3 some records are damaged and left out, "
    "4 the environment broke underneath."
)
OF_GRIDS = (
    "Exit codes: 0 done, 1 a regression (compare), 2 change the command, study or path, 3 some "
    "cells failed or are damaged, 4 the environment broke underneath, 130 interrupted."
)
