"""The batch script of a Slurm job array, which runs `metabench worker` on every node."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from metabench.grid.scheduling.slurm_options import (
    check_memory,
    check_name,
    grace_seconds,
    job_name,
    limit_seconds,
)

PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._- ")


@dataclass(frozen=True)
class Request:
    """Resources that each job of the array requests; checked when it is made."""

    array: int  # number of jobs
    limit: str  # as Slurm has it: HH:MM:SS
    gpus: int = 0
    cores: int = 1
    grace: int | None = None  # from the warning to the limit; None: what fits [seconds]
    partition: str = ""
    account: str = ""
    memory: str = ""  # of a job on its node, as Slurm has it: 16G

    def __post_init__(self) -> None:
        """Check every option."""
        limit_seconds(self.limit)
        grace_seconds(self.grace, self.limit)
        if self.partition:
            check_name("--partition", self.partition, several=True)
        if self.account:
            check_name("--account", self.account)
        if self.memory:
            check_memory(self.memory)

    def of_jobs(self, array: int) -> Request:
        """Return the request for another number of jobs."""
        return replace(self, array=array)

    def options(self, name: str) -> list[str]:
        """Return the options of sbatch for a job of this name."""
        grace = grace_seconds(self.grace, self.limit)
        asked = {
            "job-name": name,
            "array": f"0-{self.array - 1}",
            "ntasks": "1",
            "cpus-per-task": str(self.cores),
            "gpus-per-task": str(self.gpus or ""),
            "mem": self.memory,
            "partition": self.partition,
            "account": self.account,
            "time": self.limit,
            "signal": f"B:USR1@{grace}" if grace else "",
            "open-mode": "append",  # a requeued job would empty its output
        }
        return [*(f"--{name}={value}" for name, value in asked.items() if value), "--requeue"]


def script(study: Path, store: Path, request: Request, place: Path) -> str:
    """Return the batch script; it runs in the current folder with the current Python.

    The worker uses the cores and every GPU that Slurm grants. Near the time limit Slurm sends
    SIGUSR1: the worker finishes and records the cells that are running, and requeues its job.
    Slurm's SIGTERM, in contrast, comes from who cancels or preempts the job.

    Args:
        study: the study file.
        store: the folder of results, shared by all nodes.
        request: resources of each job.
        place: path of the script, which the worker names where it can't requeue its job.

    `B:` sends the signal to the batch shell, and only to it
    (https://slurm.schedmd.com/sbatch.html#OPT_signal); `exec` makes the worker that very process.
    `-P` keeps the folder's own files, such as a torch.py, from being imported.
    """
    run = [sys.executable, "-P", "-m", "metabench", "worker"]
    run += ["--store", str(store), "--sbatch", str(place)]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option}" for option in request.options(job_name(study.stem))),
        "# Written by metabench slurm. Submit it again to continue: measured cells are skipped.",
        "trap '' USR1 # until the worker handles it",
        f"cd -- {quoted(str(Path.cwd()))} || exit 4",
        f"exec {' '.join(map(quoted, run))} \\",
        f'  --part "$SLURM_ARRAY_TASK_ID/{request.array}" -- {quoted(str(study))}',
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    r"""Quote a word for bash, in printable characters alone.

    >>> print(quoted("my runs"), quoted("line\nbreak"))
    'my runs' $'line\012break'
    """
    if text.isprintable():
        return shlex.quote(text)
    octal = (chr(b) if b in PLAIN else f"\\{b:03o}" for b in os.fsencode(text))
    return f"$'{''.join(octal)}'"
