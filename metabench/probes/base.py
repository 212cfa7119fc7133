"""What a probe is: measure a subject, read the table, draw the table."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metabench.records.rows import Finding, Row
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject

ENOUGH = 4  # whole chunks of a share: fewer would make shares too unequal

Progress = Callable[[int, int], None]  # (tasks done, tasks in all)


def no_progress(done: int, total: int) -> None:
    """Report progress to nobody."""


class Part(NamedTuple):
    """One of so many shares of a measurement's tasks."""

    number: int  # from 0
    total: int

    def of(self, things: int, whole: int = 1) -> tuple[int, int]:
        """Give where this share of so many things begins and ends.

        Where there are enough things, ends lie at multiples of `whole`, so that what is computed
        together stays together.

        >>> [Part(i, 3).of(8) for i in range(3)], Part(1, 2).of(100, whole=8)
        ([(0, 2), (2, 5), (5, 8)], (48, 100))
        """
        step = whole if things >= ENOUGH * self.total * whole else 1
        steps = -(-things // step)
        first, last = (steps * i // self.total * step for i in (self.number, self.number + 1))
        return first, min(last, things)

    def __str__(self) -> str:
        """Say it the way `--part` does."""
        return f"{self.number}/{self.total}"


class Drawing(NamedTuple):
    """One figure: what it asks, how to read it, what draws it, and which numbers it shows."""

    title: str
    caption: str
    draw: Callable[[Axes], None]
    shows: tuple[str, ...] = ()  # quantities: a finding that rests on one is shown by this figure
    data: pd.DataFrame | None = None  # what is drawn; None: the rows of `shows`, or all


class Probe:
    """Settings are dataclass fields; only `measure` needs torch, so pages can be made without it.

    `measure`, `find` and `draw` are written as methods; or, where the class is that of a
    folder's `__init__.py`, as functions of the same name and arguments, the probe first, in the
    modules `measure`, `find` and `draw` beside it, which are imported when they are asked.

    `question` is what the probe answers, in one sentence; `caption` says how to read its figure;
    `axis` names what `at` counts in its rows. A report over many cells needs no more, and takes
    hints: `table_quantities` names the quantities that its tables compare and the better end of
    each, low, high or "" for neither; `x_axis_quantities` those that it draws against `axis`;
    `intervals` says in a sentence or two how the intervals are made. A quantity of a source is
    named "bias, estimator".
    """

    question: ClassVar[str]
    caption: ClassVar[str]
    axis: ClassVar[str]
    table_quantities: ClassVar[Mapping[str, str]] = {}
    x_axis_quantities: ClassVar[tuple[str, ...]] = ()
    intervals: ClassVar[str] = ""
    shown: ClassVar[tuple[str, ...]] = ()  # quantities of the first figure; empty: all others
    table_by_quantity: ClassVar[bool] = False  # tables have a line a quantity, and a column a place
    figure_only: ClassVar[frozenset[str]] = frozenset()  # quantities for figures, not for tables
    has_default_tasks: ClassVar[bool] = False  # `tasks` has a default of its own, no family's
    options: ClassVar[tuple[str, ...]] = ()  # fields that are options of its command: --budget
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    splittable: ClassVar[bool] = False  # has `measure_part` and `merge`: devices share a cell
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # smaller settings, the cheapest first
    causes: ClassVar[Mapping[str, str]] = {}  # a finding that may warn -> what is at fault then

    def measure(self, subject: Subject, seed: int, progress: Progress = no_progress) -> list[Row]:
        """Measure the subject on fresh tasks of this seed."""
        rows: list[Row] = _answer(self, "measure")(self, subject, seed, progress)
        return rows

    def measure_part(self, subject: Subject, seed: int, share: Part) -> dict[str, NDArray[Any]]:
        """Measure one share of the tasks, as arrays that `merge` takes.

        Raises:
            NotImplementedError: if the probe doesn't cut.
        """
        raise NotImplementedError

    def merge(
        self,
        subject: Subject,
        seed: int,
        parts: Sequence[Mapping[str, NDArray[Any]]],
        progress: Progress = no_progress,
    ) -> list[Row]:
        """Give the rows of `measure` from the arrays of every share, in order, to round-off.

        Raises:
            NotImplementedError: if the probe doesn't cut.
        """
        raise NotImplementedError

    def find(self, table: pd.DataFrame) -> list[Finding]:
        """Make findings of one measured table, the weightiest first."""
        findings: list[Finding] = _answer(self, "find")(self, table)
        return findings

    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw one measured table."""
        _answer(self, "draw")(self, table, axes)

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Give every figure of the page: what `draw` draws, then those of `more` beside it."""
        first = Drawing(self.question, self.caption, partial(self.draw, table), self.shown)
        more = _beside(self, "draw", "more")
        return [first, *(more(self, table) if more else [])]


def _answer(probe: Probe, question: str) -> Callable[..., Any]:
    """Give what answers `measure`, `find` or `draw` for a probe without such a method.

    Raises:
        InvalidInput: if nothing does.
    """
    found = _beside(probe, question, question)
    if found is None:
        raise InvalidInput(
            f"{type(probe).__name__} has no {question!r}: write it as a method, or as a function "
            f"{question}(probe, ..) in a module {question}.py beside a class in an __init__.py."
        )
    return found


def _beside(probe: Probe, module: str, function: str) -> Callable[..., Any] | None:
    """Find a function in a module of the package that a probe's class, or a parent, stands in."""
    for cls in type(probe).__mro__:
        try:
            spec = importlib.util.find_spec(f"{cls.__module__}.{module}")
        except ModuleNotFoundError:  # the class stands in a file of its own
            continue
        home = importlib.import_module(spec.name) if spec else None
        found: Callable[..., Any] | None = getattr(home, function, None)
        if found:
            return found
    return None
