"""What is asked of Slurm's own commands."""

from __future__ import annotations

import os
import re
import subprocess

LONGEST_ANSWER = 60  # of the controller to a job [seconds]
LONGEST_LOOKUP = 10  # of the controller to a command that can do without [seconds]


def requeue() -> str:
    """Put this process's job back into the queue; return why that failed, "" if it did not.

    Slurm ends the job soon after it accepts.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    if not job:
        return "SLURM_JOB_ID is not set"
    try:
        asked = _scontrol("requeue", job, seconds=LONGEST_ANSWER)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{error}"
    if asked.returncode == 0:
        return ""
    return " ".join(asked.stderr.split()) or f"scontrol ended with {asked.returncode}"


def largest_array() -> int | None:
    """Return the number of jobs that an array may have on this cluster; None if it is unknown."""
    try:
        asked = _scontrol("show", "config", seconds=LONGEST_LOOKUP)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"^MaxArraySize\s*=\s*([0-9]+)", asked.stdout, re.MULTILINE)
    return int(found[1]) if found else None


def _scontrol(*words: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=seconds)
