"""Exit codes of the commands, and the lines of `--help` that list them."""

from __future__ import annotations

DONE = 0
REGRESSION = 1  # `compare`: B is worse than A
FOUND = 1  # `--fail-on`: a finding is as severe as asked
INVALID = 2  # click's own code of a UsageError: an option, setting, study or path
STOPPED = 3  # `train`: the meta-gradient diverged
FAILED = 3  # `grid`: cells failed
LEFT_OUT = 3  # commands that read records: damaged ones were left out
SYSTEM_ERROR = 4  # disk full, out of memory, a download that failed
INTERRUPTED, TERMINATED = 130, 143  # by Ctrl-C, by SIGTERM

_FOUND = "1 a finding as severe as --fail-on"
_INVALID = "2 invalid option, setting or path"
_SYSTEM_ERROR = "4 system error (disk full, out of memory, no network)"
_INTERRUPTED = "130 interrupted by Ctrl-C, 143 by SIGTERM"

EPILOG = f"Exit codes: 0 done, {_INVALID}, {_SYSTEM_ERROR}, {_INTERRUPTED}."
OF_PROBES = f"Exit codes: 0 done, {_FOUND}, {_INVALID}, {_SYSTEM_ERROR}, {_INTERRUPTED}."
OF_TRAINING = (
    f"Exit codes: 0 done, {_FOUND}, {_INVALID}, "
    f"3 training stopped because the meta-gradient diverged, {_SYSTEM_ERROR}, {_INTERRUPTED}."
)
OF_REPORTS = (
    f"Exit codes: 0 done, {_FOUND}, {_INVALID}, 3 damaged records were left out, "
    f"{_SYSTEM_ERROR}, {_INTERRUPTED}."
)
OF_GRIDS = (
    f"Exit codes: 0 done, 1 regression (compare) or a finding as severe as --fail-on, {_INVALID}, "
    f"3 cells failed or damaged records "
    f"were left out, {_SYSTEM_ERROR}, {_INTERRUPTED}."
)
OF_ALL = (
    f"Exit codes: 0 done, 1 regression (compare) or a finding as severe as --fail-on, {_INVALID}, "
    f"3 meta-gradient diverged (train), "
    f"cells failed (grid) or damaged records were left out, {_SYSTEM_ERROR}, {_INTERRUPTED}."
)
