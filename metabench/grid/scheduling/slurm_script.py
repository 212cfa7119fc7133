"""A job array for Slurm: no executor, just `metabench worker` on every node and a shared store."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """What one job of the array asks Slurm for."""

    array: int  # jobs
    limit: str  # HH:MM:SS
    gpus: int
    cores: int
    grace: int  # from the warning to the limit [seconds]


def script(study: Path, store: Path, request: Request) -> str:
    """Give the batch script; it runs in the folder, and with the Python, that wrote it.

    Slurm's own mask of GPUs stands, and the worker takes every one that it names. Near the time
    limit Slurm sends SIGTERM: the cells in hand are finished and recorded, the next submission goes
    on from there. `B:` sends it to the batch shell, which is left out otherwise, and to it alone
    (https://slurm.schedmd.com/sbatch.html#OPT_signal); `exec` makes the worker that very process.
    """
    python = Path(sys.executable)
    gpus = [f"#SBATCH --gpus-per-task={request.gpus}"] if request.gpus else []
    worker = [str(python), "-m", "metabench", "worker", str(study), "--store", str(store)]
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name=metabench-{study.stem}",
        f"#SBATCH --array=0-{request.array - 1}",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={request.cores}",
        *gpus,
        f"#SBATCH --time={request.limit}",
        f"#SBATCH --signal=B:TERM@{request.grace}",
        f"#SBATCH --chdir={Path.cwd()}",
        "# Written by metabench slurm. Submit it again to go on: what is done is skipped.",
        f'exec {shlex.join(worker)} --part "$SLURM_ARRAY_TASK_ID/{request.array}"',
    ]
    return "\n".join(lines) + "\n"
