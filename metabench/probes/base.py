"""The interface of a probe: measure a subject, find what the table shows, draw the table."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metabench.records.rows import Finding, Row
from metabench.settings.errors import InvalidInput
from metabench.settings.keywords import Settings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject

FEWEST_CHUNKS = 4  # whole chunks in a part: fewer would make parts too unequal

Progress = Callable[[int, int], None]  # (tasks done, tasks in all)


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""


class Part(NamedTuple):
    """Part `number` of `total` of a measurement's tasks, as `--part 0/8` names it."""

    number: int  # from 0
    total: int

    def bounds(self, count: int, chunk: int = 1) -> tuple[int, int]:
        """Return the first and the last index plus one of this part of `count` items.

        With enough items, parts begin at multiples of `chunk`, so that chunks stay whole.

        >>> [Part(i, 3).bounds(8) for i in range(3)], Part(1, 2).bounds(100, chunk=8)
        ([(0, 2), (2, 5), (5, 8)], (48, 100))
        """
        step = chunk if count >= FEWEST_CHUNKS * self.total * chunk else 1
        steps = -(-count // step)
        first, last = (steps * i // self.total * step for i in (self.number, self.number + 1))
        return first, min(last, count)

    def __str__(self) -> str:
        """Write it as `--part` does: 0/8."""
        return f"{self.number}/{self.total}"


class Drawing(NamedTuple):
    """A figure: its title, caption, drawing function and the quantities it shows."""

    title: str
    caption: str
    draw: Callable[[Axes], None]
    shows: tuple[str, ...] = ()  # quantities: a finding that rests on one is shown by this figure
    data: pd.DataFrame | None = None  # what is drawn; None: the rows of `shows`, or all


class Probe(Settings):
    """Base class of probes: a frozen dataclass of settings that measures, finds and draws.

    Write `measure`, `find` and `draw` as methods. If the class is defined in the `__init__.py` of a
    package, they may be functions of the same name and arguments, the probe first, in its modules
    `measure`, `find` and `draw`, which are imported on first use. Only `measure` needs torch, so
    pages can be made without it.

    `question` is what the probe answers, `caption` explains its figure and `axis` names what `at`
    counts in its rows. `headline` lists the few numbers that a terminal prints: "noise_scale",
    "bias, estimator", "norm @ last" for the largest `at`, "mse, * @ batch" for all methods at the
    value of a field. A report over many cells also uses:
    `table_quantities`, the quantities its tables compare and whether low, high or "" (neither) is
    better; `x_axis_quantities`, those it draws against `axis`; `intervals`, how the intervals are
    computed. Quantities with an `of` are written "bias, estimator". `meanings` explains each
    quantity in tables, with its unit in brackets.

    >>> import metabench as mb
    >>> class Hello(mb.Probe):
    ...     def measure(self, subject, seed, progress=None):
    ...         return [mb.Row("length", at=float(i), value=1.5 * i) for i in range(3)]
    ...     def find(self, table):
    ...         claim = f"The longest of {len(table)} is {table['value'].max():g}."
    ...         return [mb.Finding("length", "info", "", claim, "", ())]
    >>> Hello().find(mb.to_table(Hello().measure(None, seed=0)))[0].claim
    'The longest of 3 is 3.'
    """

    settings_group: ClassVar[str] = "probe"
    question: ClassVar[str] = ""
    caption: ClassVar[str] = ""
    axis: ClassVar[str] = ""
    axes: ClassVar[Mapping[str, str]] = {}  # "quantity" or "quantity/of" with another axis
    meanings: ClassVar[Mapping[str, str]] = {}  # what "quantity" or "quantity/of" is, and its unit
    headline: ClassVar[tuple[str, ...]] = ()  # "quantity", "quantity, of" or "norm @ last"
    table_quantities: ClassVar[Mapping[str, str]] = {}
    x_axis_quantities: ClassVar[tuple[str, ...]] = ()
    intervals: ClassVar[str] = ""
    shown: ClassVar[tuple[str, ...]] = ()  # quantities that the first figure draws
    table_by_quantity: ClassVar[bool] = False  # tables: a line per quantity, a column per `at`
    figure_only: ClassVar[frozenset[str]] = frozenset()  # quantities in figures but not in tables
    has_default_tasks: ClassVar[bool] = False  # `tasks` has its own default, not the family's
    options: ClassVar[tuple[str, ...]] = ()  # fields that become options of its command: --budget
    version: ClassVar[int] = 1  # part of a cell's address: raise it when numbers change
    splittable: ClassVar[bool] = False  # has `measure_part` and `merge`, to split a cell
    fidelities: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # cheaper settings, the cheapest first
    causes: ClassVar[Mapping[str, str]] = {}  # name of a warning -> its cause

    def measure(self, subject: Subject, seed: int, progress: Progress = no_progress) -> list[Row]:
        """Measure the subject on fresh tasks and return the rows of its table.

        Args:
            subject: the algorithm, problem and theta to measure.
            seed: of every draw.
            progress: called with the number of tasks done and of all tasks.
        """
        rows: list[Row] = _function_for(self, "measure")(self, subject, seed, progress)
        return rows

    def measure_part(self, subject: Subject, seed: int, part: Part) -> dict[str, NDArray[Any]]:
        """Measure one part of the tasks and return the arrays that `merge` takes.

        Args:
            subject: the algorithm, problem and theta to measure.
            seed: of every draw.
            part: which part of the tasks.

        Raises:
            NotImplementedError: if the probe is not splittable.
        """
        raise NotImplementedError

    def merge(
        self,
        subject: Subject,
        seed: int,
        parts: Sequence[Mapping[str, NDArray[Any]]],
        progress: Progress = no_progress,
    ) -> list[Row]:
        """Return the rows of `measure` from the arrays of all parts, equal up to round-off.

        Args:
            subject: the algorithm, problem and theta to measure.
            seed: of every draw.
            parts: what `measure_part` returned for each part, in order.
            progress: called with the number of tasks done and of all tasks.

        Raises:
            NotImplementedError: if the probe is not splittable.
        """
        raise NotImplementedError

    def find(self, table: pd.DataFrame) -> list[Finding]:
        """Return the findings of one measured table, the most severe first."""
        findings: list[Finding] = _function_for(self, "find")(self, table)
        return findings

    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw one measured table."""
        _function_for(self, "draw")(self, table, axes)

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Return the figures of a page: that of `draw`, then those of `more` in its module draw."""
        first = Drawing(self.question, self.caption, partial(self.draw, table), self.shown)
        more = _function_beside(self, "draw", "more")
        return [first, *(more(self, table) if more else [])]


def _function_for(probe: Probe, name: str) -> Callable[..., Any]:
    """Return the function `measure`, `find` or `draw` that stands in for a missing method.

    Raises:
        InvalidInput: if there is none.
    """
    found = _function_beside(probe, name, name)
    if found is None:
        raise InvalidInput(
            f"{type(probe).__name__} has no {name!r}: write it as a method, or, if the class is in "
            f"an __init__.py, as a function {name}(probe, ..) in the module {name}.py beside it."
        )
    return found


def _function_beside(probe: Probe, module: str, function: str) -> Callable[..., Any] | None:
    """Return a function from a module of the package that defines a probe's class or a parent."""
    for cls in type(probe).__mro__:
        try:
            spec = importlib.util.find_spec(f"{cls.__module__}.{module}")
        except ModuleNotFoundError:  # the class is defined in a single file
            continue
        home = importlib.import_module(spec.name) if spec else None
        found: Callable[..., Any] | None = getattr(home, function, None)
        if found:
            return found
    return None
