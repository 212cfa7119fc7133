"""The command `metabench`, also as `python -m metabench`: signals are answered from the start."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command; a signal before it begins ends with a sentence and 130 or 143."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as of a command in the background
            signal.signal(number, _end)
    from metabench.cli.main import main as command

    command(prog_name="metabench")


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing is being measured or written yet, or no longer."""
    with contextlib.suppress(RuntimeError, OSError):
        sys.stdout.flush()
    os.write(2, b"\nInterrupted while no command was running.\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
