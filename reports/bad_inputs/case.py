"""One case: a command line in a folder of its own, and how it must end."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import click
from click.testing import CliRunner

from metabench.cli.main import main

LIMIT = 60.0  # of one case [seconds]; a busy machine stalls for more than ten
Prepare = Callable[[], None]


class Case(NamedTuple):
    """A command line, the files it meets, and whether it must be refused."""

    group: str  # what is bad: option, setting, study, user file, data file, ...
    name: str
    words: tuple[str, ...]
    bad: bool = True  # must be refused with exit code 2; else any documented code will do
    prepare: Prepare | None = None  # makes the bad file in the case's folder
    codes: tuple[int, ...] = (2,)  # how a bad one may end


class Ended(NamedTuple):
    """How a case ended."""

    case: Case
    code: int
    seconds: float
    problem: str  # "" if it is as it must be
    text: str  # the last sentence that was printed


class Late(BaseException):
    """A case took longer than its limit."""


class Workplace:
    """A copy of the folder with the good files, made anew after each case that has changed it."""

    def __init__(self, template: Path, place: Path) -> None:
        """Prepare the copy.

        Args:
            template: the folder with the good files.
            place: where the copy is made; it must not exist.
        """
        self._template, self._place = template, place
        self._held: set[tuple[str, int, int]] = set()

    @contextlib.contextmanager
    def entered(self) -> Generator[None]:
        """Work in the copy."""
        before = Path.cwd()
        if not self._held or self._held != _held(self._place):
            shutil.rmtree(self._place, ignore_errors=True)
            shutil.copytree(self._template, self._place)
            self._held = _held(self._place)
        os.chdir(self._place)
        try:
            yield
        finally:
            os.chdir(before)


def _held(folder: Path) -> set[tuple[str, int, int]]:
    """Return name, size and time of everything below a folder."""
    found = set()
    for path in folder.rglob("*"):
        at = path.lstat()
        changed = 0 if path.is_dir() else at.st_mtime_ns
        found.add((str(path), at.st_mode if path.is_dir() else at.st_size, changed))
    return found


def run(case: Case, workplace: Workplace) -> Ended:
    """Run a case, and judge how it ended.

    Args:
        case: to run.
        workplace: the folder that it runs in.
    """
    begun = time.perf_counter()
    with workplace.entered():
        try:
            with _alarm(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if case.prepare:
                    case.prepare()
                result = CliRunner().invoke(main, list(case.words))
        except Late:
            return Ended(case, -1, LIMIT, f"took more than {LIMIT:g} s", "")
    error = result.exception
    raised = "" if error is None or isinstance(error, SystemExit) else f"raised {error!r}"
    problem = raised or _problem(case, result.exit_code, result.output)
    return Ended(case, result.exit_code, time.perf_counter() - begun, problem, _last(result.output))


def documented(words: tuple[str, ...]) -> set[int]:
    """Return the exit codes that the help of a command lists."""
    return _documented(words[0] if words else "")


@functools.cache
def _documented(name: str) -> set[int]:
    words = (name,) if name else ()
    command = main.get_command(click.Context(main), words[0]) if words else None
    epilog = (command or main).epilog or ""
    return {int(code) for code in re.findall(r"(?:^|[,:;])\s*(\d+)\s", epilog)} or {0, 2}


def _problem(case: Case, code: int, output: str) -> str:
    if "Traceback" in output:
        return "printed a traceback"
    if code not in documented(case.words):
        return f"ended with {code}, which its help doesn't list"
    if code == 2 and not re.search(r"Error: \S", output):
        return "ended with 2 and no sentence"
    if code == 4:
        return "blamed the system"
    if case.bad and code not in case.codes:
        return f"was accepted: ended with {code}"
    return ""


def _last(output: str) -> str:
    text = output[output.find("Error:") :] if "Error:" in output else output
    return " ".join(text.split())[:300]


@contextlib.contextmanager
def _alarm() -> Generator[None]:
    """Raise Late after the limit, and again, since a destructor may drop it."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
