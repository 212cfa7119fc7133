"""Figure of the variance by source: a stacked bar for all parameters and for each layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.base import Drawing
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.rows import Row, from_table
from metabench.records.source_names import source_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "Which source does the variance come from?"
CAPTION = (
    "Shares of the variance by source, for all parameters and for each layer. Within each task, "
    "every redrawn support set is paired with every redrawn query set; inner mini-batches and "
    "label permutations are redrawn for the same sets. Estimates below zero are noise, and not "
    "drawn."
)
MOST_LAYERS = 12  # that get a bar


def sources(table: pd.DataFrame) -> list[Drawing]:
    """Return the figure, or nothing where the table has no shares."""
    if all(r.value is None for r in from_table(table, "share", of=None)):
        return []
    return [Drawing(QUESTION, CAPTION, partial(_draw, table), ("component", "share"))]


def _draw(table: pd.DataFrame, axes: Axes) -> None:
    """Draw the shares of the sources, stacked: one bar for all parameters, one for each layer."""
    shares = [r for r in from_table(table, "share", of=None, layer=None) if r.value is not None]
    sources = list(dict.fromkeys(r.of for r in shares))
    layers = list(dict.fromkeys(r.layer for r in shares))[: MOST_LAYERS + 1]
    found = {(r.of, r.layer): r for r in shares}
    left = dict.fromkeys(layers, 0.0)
    for source, color in zip(sources, PALETTE, strict=False):
        widths = [_width(found.get((source, layer))) for layer in layers]
        axes.barh(
            range(len(layers)),
            widths,
            left=list(left.values()),
            color=color,
            label=source_name(source),
        )
        left = {layer: left[layer] + width for layer, width in zip(layers, widths, strict=True)}
    axes.set_yticks(range(len(layers)), [layer or "all" for layer in layers])
    axes.invert_yaxis()
    axes.set(xlabel="share of the variance", xlim=(0, max(1.0, *left.values())))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    open_frame(axes)


def _width(share: Row | None) -> float:
    return max(share.value or 0.0, 0.0) if share else 0.0
