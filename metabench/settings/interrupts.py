"""Handling of Ctrl-C, of SIGTERM, and of the warning that a job's time limit is near."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)  # the last is Slurm's warning
T = TypeVar("T")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does, but for the exit code."""


def interrupt(number: int) -> KeyboardInterrupt:
    """Return the exception that a signal raises."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def raising() -> Generator[None]:
    """Let SIGINT and SIGTERM raise KeyboardInterrupt and `Terminated`; not in other threads."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise interrupt(number)

    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # of a command in the background
    with _handled((signal.SIGTERM,) if ignored else (signal.SIGINT, signal.SIGTERM), on_signal):
        yield


class Stop(AbstractContextManager["Stop"]):
    """Context in which a first of SIGNALS sets `asked` and `by`; the second raises."""

    asked = False
    by = 0  # number of the first signal

    def __enter__(self) -> Stop:
        """Install the handler for all signals."""
        self._handlers = _handled(SIGNALS, self._on_signal)
        self._handlers.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Restore the previous handlers."""
        self._handlers.__exit__(None, None, None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise interrupt(number)
        self.asked, self.by = True, number


class WholeSteps(AbstractContextManager["WholeSteps"]):
    """Context in which a first SIGINT or SIGTERM waits for the end of a step, the second doesn't.

    Between steps, signals raise at once.
    """

    torn = False  # whether a signal has interrupted a step

    def __init__(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Prepare the context; `waiting` is called when a signal waits."""
        self._waiting, self._by, self._within = waiting, 0, False

    def __enter__(self) -> WholeSteps:
        """Install the handlers."""
        self._handlers = _handled((signal.SIGINT, signal.SIGTERM), self._on_signal)
        self._handlers.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        """Restore the previous handlers."""
        self._handlers.__exit__(None, None, None)

    def step(self, take: Callable[[], T]) -> T:
        """Take a step and return its result; raises after it if a signal came meanwhile."""
        self._within = True
        result = take()
        self._within = False
        if self._by:
            raise interrupt(self._by)
        return result

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._within or self._by:
            self.torn = self._within
            raise interrupt(number)
        self._by = number
        self._waiting()


@contextmanager
def _handled(
    signals: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Generator[None]:
    """Install a handler, on the main thread only: others can't have one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
