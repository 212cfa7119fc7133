"""Colors of figures, told apart with color blindness too, and their frame without top and right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# seaborn's "colorblind": blue, orange, green, ...; importing seaborn takes longer than a page
PALETTE = (
    *("#0173B2", "#DE8F05", "#029E73", "#D55E00", "#CC78BC"),
    *("#CA9161", "#FBAFE4", "#949494", "#ECE133", "#56B4E9"),
)


def open_frame(axes: Axes) -> None:
    """Hide the frame's upper and right side."""
    axes.spines[["top", "right"]].set_visible(False)
