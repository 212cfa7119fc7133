"""What a user's own code raised, as a sentence with its file, line and message."""

from __future__ import annotations

import errno
import linecache
import sys
import sysconfig
import traceback
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from metabench.settings.errors import InvalidInput, text_of

PACKAGE = str(Path(__file__).parents[1])
INTERNAL = (PACKAGE, "site-packages", "dist-packages", "<frozen", "<string>",
            sysconfig.get_path("stdlib"))  # fmt: skip
# Of the machine, not of the code that met them: disk full, out of memory, files or quota.
OF_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.EIO, errno.EPIPE)

# Functions of this package that torch calls from within a user's operation, to watch it.
OF_A_MODE = ("__torch_dispatch__", "__torch_function__", "note", "user_line_here")


@contextmanager
def user_errors() -> Generator[None]:
    """Re-raise what a user's module, loss, sampler or estimator raises as a sentence.

    Errors of this package, which have no line of user code, pass as they are, and so do
    KeyboardInterrupt, SystemExit and what the machine lacks.

    Raises:
        InvalidInput: from the error, with the user's file, line and the message.
    """
    try:
        yield
    except Exception as error:
        sentence = user_sentence(error)
        if sentence is None:
            raise
        raise InvalidInput(sentence) from error


def user_sentence(error: BaseException) -> str | None:
    """Return an error of user code as a sentence; None if it is another's.

    >>> print(user_sentence(MemoryError()))
    None
    """
    if isinstance(error, InvalidInput | MemoryError) or not isinstance(error, Exception):
        return None
    if isinstance(error, OSError) and error.errno in OF_MACHINE:
        return None
    frame = _user_frame(error)
    if frame is None or "memory" in text_of(error):  # torch has no one class for it
        return None
    code = f" (`{frame.line.rstrip(',')}`)" if frame.line else ""
    where = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
    return f"{where}: {in_one_line(error)}{code}."


def user_line(error: BaseException) -> str:
    """Return the innermost line of user code of an error as " (my.py, line 3: code)", or ""."""
    frame = _user_frame(error)
    if frame is None:
        return ""
    code = (frame.line or "").rstrip(",")
    return f" ({Path(frame.filename).name}, line {frame.lineno}: {code})"


def user_line_here() -> str:
    """Return the user's line that called what runs now, as `user_line` does, or "".

    Lines of a script that called this package are not meant, only what the package called.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE) and frame.f_code.co_name not in OF_A_MODE:
            return ""
        if not any(part in name for part in INTERNAL):
            code = linecache.getline(name, frame.f_lineno).strip().rstrip(",")
            return f" ({Path(name).name}, line {frame.f_lineno}: {code})"
        frame = frame.f_back
    return ""


def in_one_line(error: BaseException) -> str:
    """Return the class of an error and the first line of its message.

    >>> in_one_line(KeyError(3)), in_one_line(NotImplementedError())
    ('KeyError: 3', 'NotImplementedError')
    """
    return ": ".join(filter(None, (type(error).__name__, text_of(error))))


def _user_frame(error: BaseException) -> traceback.FrameSummary | None:
    """Return the innermost frame of user code in an error, else in what it came from."""
    for each in _chain(error):
        for frame in reversed(traceback.extract_tb(each.__traceback__)):
            if not any(part in frame.filename for part in INTERNAL):
                return frame
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
