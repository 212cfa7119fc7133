"""Options of a Slurm job, checked before they are written into a batch script.

A value that Slurm misreads fails hours later in the queue, and one with a line break adds options.
"""

from __future__ import annotations

import math
import re

from metabench.settings.errors import InvalidInput

TIME_FORMS = (
    r"(?P<minutes>[0-9]{1,9})(:(?P<seconds>[0-9]{1,9}))?",
    r"(?P<hours>[0-9]{1,9}):(?P<minutes>[0-9]{1,9}):(?P<seconds>[0-9]{1,9})",
    r"(?P<days>[0-9]{1,9})-(?P<hours>[0-9]{1,9})(:(?P<minutes>[0-9]{1,9})(:(?P<seconds>[0-9]{1,9}))?)?",
)
UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1}  # [seconds]
NAME = r"[A-Za-z0-9_.@+][A-Za-z0-9_.@+-]{0,254}"  # one that begins with "-" is an option
LONGEST_LIMIT = 365 * 86400  # seconds
LONGEST_GRACE = 65535  # seconds, Slurm's own bound
USUAL_GRACE = 300  # seconds
EARLIEST = 60  # Slurm may send a warning so much earlier than asked [seconds]


def limit_seconds(limit: str) -> int:
    """Return the time limit that Slurm reads from `--time`; it rounds up to minutes.

    >>> limit_seconds("90"), limit_seconds("04:00:00"), limit_seconds("1-12"), limit_seconds("0:30")
    (5400, 14400, 129600, 60)

    Raises:
        InvalidInput: if Slurm has no such form, or the limit isn't between a minute and a year.
    """
    match = next(filter(None, (re.fullmatch(form, limit) for form in TIME_FORMS)), None)
    if match is None:
        raise InvalidInput(
            f"--time is {limit!r}; give minutes, minutes:seconds, hours:minutes:seconds, "
            "days-hours or days-hours:minutes:seconds, such as 90, 04:00:00 or 2-12."
        )
    seconds = sum(UNITS[unit] * int(count or 0) for unit, count in match.groupdict().items())
    if not 0 < seconds <= LONGEST_LIMIT:
        raise InvalidInput(f"--time is {limit!r}; give a limit above 0 and of at most 365 days.")
    return 60 * math.ceil(seconds / 60)


def grace_seconds(grace: int | None, limit: str) -> int:
    """Return the seconds before the limit at which Slurm warns; 0 asks for no warning.

    Args:
        grace: as asked; None: 300 seconds, or less if the limit leaves less.
        limit: the time limit, as Slurm has it.

    >>> grace_seconds(None, "04:00:00"), grace_seconds(None, "5"), grace_seconds(None, "1")
    (300, 120, 0)

    Raises:
        InvalidInput: if the warning could come before a cell was started.
    """
    seconds = limit_seconds(limit)
    most = min(seconds - EARLIEST, LONGEST_GRACE)
    if grace is None:
        return min(USUAL_GRACE, most // 2)
    if grace > most:
        raise InvalidInput(
            f"--grace is {grace} s and --time {limit} is {seconds} s; Slurm may warn {EARLIEST} s "
            f"early, so no cell might start. Give a --grace of at most {most}, or a longer --time."
        )
    return grace


def check_name(option: str, value: str, several: bool = False) -> None:
    """Check the name of a partition or an account.

    Args:
        option: the option, for the message.
        value: what was given.
        several: whether names may be listed with commas.

    Raises:
        InvalidInput: for characters that names in Slurm don't have.
    """
    pattern = f"{NAME}(,{NAME})*" if several else NAME
    if not re.fullmatch(pattern, value):
        what = "names separated by commas" if several else "one name"
        raise InvalidInput(
            f"{option} is {value!r}; give {what}: letters, digits and _ . @ + - (not first)"
        )


def check_memory(value: str) -> None:
    """Check an amount of memory.

    Raises:
        InvalidInput: if Slurm doesn't read it as an amount.
    """
    if not re.fullmatch(r"[0-9]{1,12}[KMGTkmgt]?", value):
        raise InvalidInput(
            f"--mem is {value!r}; give a whole number with the unit K, M, G or T, such as 16G "
            "(without a unit: mebibytes; 0: all memory of the node)."
        )


def job_name(stem: str) -> str:
    """Return the job's name for a study's name, without characters that need quotes.

    >>> job_name("my study $1")
    'metabench-my_study__1'
    """
    return "metabench-" + re.sub(r"[^A-Za-z0-9_.@+-]", "_", stem)
