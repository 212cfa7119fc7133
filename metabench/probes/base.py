"""What a probe is: measure a subject, read the table, draw the table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from metabench.records.rows import Finding, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from metabench.estimation.estimator_on_tasks import Subject

ENOUGH = 4  # whole chunks of a share: fewer would make shares too unequal

Progress = Callable[[int, int], None]  # (tasks done, tasks in all)


def silent(done: int, total: int) -> None:
    """Report progress to nobody."""


class Share(NamedTuple):
    """One of so many shares of a measurement's tasks."""

    number: int  # from 0
    total: int

    def of(self, things: int, whole: int = 1) -> tuple[int, int]:
        """Give where this share of so many things begins and ends.

        Where there are enough things, ends lie at multiples of `whole`, so that what is computed
        together stays together.

        >>> [Share(i, 3).of(8) for i in range(3)], Share(1, 2).of(100, whole=8)
        ([(0, 2), (2, 5), (5, 8)], (48, 100))
        """
        step = whole if things >= ENOUGH * self.total * whole else 1
        steps = -(-things // step)
        first, last = (steps * i // self.total * step for i in (self.number, self.number + 1))
        return first, min(last, things)

    def __str__(self) -> str:
        """Say it the way `--shard` does."""
        return f"{self.number}/{self.total}"


class Drawing(NamedTuple):
    """One figure: what it asks, how to read it, what draws it, and which numbers it shows."""

    title: str
    caption: str
    draw: Callable[[Axes], None]
    shows: tuple[str, ...] = ()  # quantities: a finding that rests on one is shown by this figure
    data: pd.DataFrame | None = None  # what is drawn; None: the rows of `shows`, or all


class Probe(ABC):
    """Settings are dataclass fields; only `measure` needs torch, so pages can be made without it.

    `question` is what the probe answers, in one sentence; `caption` says how to read its figure;
    `axis` names what `at` counts in its rows. A report over many cells needs no more, and takes
    hints: `compared` names the quantities that its tables compare and the better end of each, low,
    high or "" for neither; `curves` those that it draws against `axis`; `intervals` says in a
    sentence or two how the intervals are made. A quantity of a source is named "bias, estimator".
    """

    question: ClassVar[str]
    caption: ClassVar[str]
    axis: ClassVar[str]
    compared: ClassVar[Mapping[str, str]] = {}
    curves: ClassVar[tuple[str, ...]] = ()
    intervals: ClassVar[str] = ""
    across: ClassVar[bool] = False  # tables have a line a quantity, and a column a place
    unlisted: ClassVar[frozenset[str]] = frozenset()  # quantities for figures, not for tables
    own_tasks: ClassVar[bool] = False  # its field `tasks` has a default of its own, no family's
    options: ClassVar[tuple[str, ...]] = ()  # fields that are options of its command: --budget
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change
    cuts: ClassVar[bool] = False  # it has `shard` and `merge`, so that many devices share a cell
    rungs: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # smaller settings, the cheapest first
    causes: ClassVar[Mapping[str, str]] = {}  # a finding that may warn -> what is at fault then

    @abstractmethod
    def measure(self, subject: Subject, seed: int, progress: Progress = silent) -> list[Row]:
        """Measure the subject on fresh tasks of this seed."""

    def shard(self, subject: Subject, seed: int, share: Share) -> dict[str, NDArray[Any]]:
        """Measure one share of the tasks, as arrays that `merge` takes.

        Raises:
            NotImplementedError: if the probe doesn't cut.
        """
        raise NotImplementedError

    def merge(
        self,
        subject: Subject,
        seed: int,
        shards: Sequence[Mapping[str, NDArray[Any]]],
        progress: Progress = silent,
    ) -> list[Row]:
        """Give the rows of `measure` from the arrays of every share, in order, to round-off.

        Raises:
            NotImplementedError: if the probe doesn't cut.
        """
        raise NotImplementedError

    @abstractmethod
    def diagnose(self, table: pd.DataFrame) -> list[Finding]:
        """Make findings of one measured table, the weightiest first."""

    @abstractmethod
    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw one measured table."""

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Give every figure of the page; the first is what `draw` draws."""
        return [Drawing(self.question, self.caption, lambda axes: self.draw(table, axes))]
