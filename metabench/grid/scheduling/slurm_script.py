"""The batch script of a Slurm job array, which runs `metabench worker` on every node."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """Resources that each job of the array requests."""

    array: int  # number of jobs
    limit: str  # HH:MM:SS
    gpus: int
    cores: int
    grace: int  # from the warning to the limit [seconds]


def script(study: Path, store: Path, request: Request) -> str:
    """Return the batch script; it runs in the current folder with the current Python.

    The worker uses every GPU that Slurm makes visible. Near the time limit Slurm sends SIGTERM: the
    worker finishes and records the cells that are running, and the next submission continues.

    Args:
        study: the study file.
        store: the folder of results, shared by all nodes.
        request: resources of each job.

    `B:` sends the signal to the batch shell, and only to it
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
        "# Written by metabench slurm. Submit it again to continue: measured cells are skipped.",
        f'exec {shlex.join(worker)} --part "$SLURM_ARRAY_TASK_ID/{request.array}"',
    ]
    return "\n".join(lines) + "\n"
