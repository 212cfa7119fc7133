"""Errors for invalid input, with the nearest valid word and the setting at fault."""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager


class InvalidInput(ValueError):
    """Invalid input: the message says what was given and what to change; commands exit with 2.

    >>> import metabench as mb
    >>> try:
    ...     mb.SGD(rate=-1.0)
    ... except mb.InvalidInput as error:
    ...     print("rate" in str(error))
    True
    """

    path: tuple[str, ...] = ()  # the setting at fault, outermost key first, where there is one


class NetworkFailure(InvalidInput):
    """What was asked for lies on a network that failed; commands exit with 4, as of a full disk."""


def text_of(error: BaseException) -> str:
    """Return the first line of an error's text without its full stop, "" if it can't be read.

    >>> text_of(ValueError("wrong. "))
    'wrong'
    """
    try:
        return next(iter(str(error).strip().splitlines()), "").rstrip(". ")
    except Exception:  # a user's class may raise whatever it likes
        return ""


@contextmanager
def inside(key: str) -> Generator[None]:
    """Note on a passing InvalidInput which setting it came from, so that a file names the line."""
    try:
        yield
    except InvalidInput as error:
        error.path = (key, *error.path)
        raise


def unknown(
    kind: str,
    given: str,
    known: Iterable[str],
    where: str = "",
    instead: Sequence[str] | None = None,
) -> InvalidInput:
    """Return the error for a word that isn't known; it names the nearest known ones.

    Args:
        kind: what the word should name, such as "algorithm".
        given: the word.
        known: the words that there are.
        where: what follows the word in the message, such as " of a study".
        instead: what was surely meant; None names the nearest known words.

    >>> print(unknown("algorithm", "mamel", ["maml", "fomaml"]))
    There is no algorithm 'mamel'; did you mean 'maml' or 'fomaml'? Known: fomaml, maml.
    """
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.5) if instead is None else instead
    listing = f" Known: {', '.join(names)}." if names else ""
    return InvalidInput(f"There is no {kind} {given!r}{where}{guess(near) or '.'}{listing}")


def guess(meant: Sequence[str]) -> str:
    """Return the end of a sentence that asks whether one of these was meant; "" for none.

    >>> guess(["algo.steps", "algo.proximal_strength of imaml"])
    "; did you mean 'algo.steps' or 'algo.proximal_strength' of imaml?"
    """
    parts = (each.partition(" ") for each in meant)
    quoted = [f"{name!r}{space}{rest}" for name, space, rest in parts]
    return f"; did you mean {' or '.join(quoted)}?" if meant else ""


def check_limits(**limits: float) -> None:
    """Check that clipping limits are positive.

    Raises:
        InvalidInput: for a limit that isn't positive, by its name.
    """
    for name, limit in limits.items():
        if not limit > 0:
            raise InvalidInput(f"{name} is {limit}; it must be positive (inf: no clipping).")


def check_below_one(**values: float) -> None:
    """Check that values such as a tolerance or a decay rate lie in [0, 1).

    Raises:
        InvalidInput: for a value outside [0, 1), by its name.
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise InvalidInput(f"{name} is {value}; it must lie in [0, 1).")
