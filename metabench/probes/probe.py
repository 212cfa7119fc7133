"""What a probe is: measure a subject, read the table, draw the table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from metabench.rows import Finding, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.subject import Subject

Progress = Callable[[int, int], None]  # (tasks done, tasks in all)


def silent(done: int, total: int) -> None:
    """Report progress to nobody."""


class Drawing(NamedTuple):
    """One figure: what it asks, how to read it, and what draws it."""

    title: str
    caption: str
    draw: Callable[[Axes], None]


class Probe(ABC):
    """Settings are dataclass fields; only `measure` needs torch, so pages can be made without it.

    `question` is what the probe answers, in one sentence; `caption` says how to read its figure;
    `axis` names what `at` counts in its rows.
    """

    question: ClassVar[str]
    caption: ClassVar[str]
    axis: ClassVar[str]
    own_tasks: ClassVar[bool] = False  # its field `tasks` has a default of its own, no family's
    version: ClassVar[int] = 1  # part of the address: raise it when the numbers change

    @abstractmethod
    def measure(self, subject: Subject, seed: int, progress: Progress = silent) -> list[Row]:
        """Measure the subject on fresh tasks of this seed."""

    @abstractmethod
    def diagnose(self, table: pd.DataFrame) -> list[Finding]:
        """Make findings of one measured table, the weightiest first."""

    @abstractmethod
    def draw(self, table: pd.DataFrame, axes: Axes) -> None:
        """Draw one measured table."""

    def drawings(self, table: pd.DataFrame) -> list[Drawing]:
        """Give every figure of the page; the first is what `draw` draws."""
        return [Drawing(self.question, self.caption, lambda axes: self.draw(table, axes))]
