"""Drawings as matplotlib figures, and as files: SVG, PNG or PDF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from metabench.report.readable_ticks import make_readable
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (6.4, 4.2)  # [inches]
FORMATS = (".svg", ".png", ".pdf")
DPI = 200  # of PNG


def canvas(draw: Callable[[Axes], None]) -> Figure:
    """Return a new figure with a drawing; it belongs to no window and needs no closing."""
    import matplotlib.figure

    made = matplotlib.figure.Figure(SIZE, layout="constrained")
    axes = made.subplots()
    draw(axes)
    make_readable(axes)
    return made


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PNG or PDF, by the ending of the file's name.

    Raises:
        InvalidInput: if the ending is another.
    """
    if path.suffix not in FORMATS:
        raise InvalidInput(f"{path} ends in none of {', '.join(FORMATS)}; a figure is one of them.")
    import matplotlib as mpl

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "metabench"}):
        dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        figure.savefig(path, dpi=DPI, metadata=dates.get(path.suffix))
