"""The Slurm job that this process runs in."""

from __future__ import annotations

import os
import subprocess

LONGEST_ANSWER = 60  # of Slurm's controller [seconds]


def requeue() -> str:
    """Put this process's job back into the queue; return why that failed, "" if it did not.

    Slurm ends the job soon after it accepts.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job:
        return "SLURM_JOB_ID is not set"
    try:
        asked = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=LONGEST_ANSWER
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}"
    if asked.returncode == 0:
        return ""
    return " ".join(asked.stderr.split()) or f"scontrol ended with {asked.returncode}"
