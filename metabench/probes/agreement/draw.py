"""Figures of the agreement probe: error against seconds, memory and error against K, causes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from metabench.probes.base import Drawing
from metabench.probes.curves import by_method, color, finished, over_k, styled
from metabench.probes.figure_style import open_frame
from metabench.records.rows import from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.agreement import Agreement


def draw(probe: Agreement, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the error to the gradient at the minimum over seconds, K growing along each line.

    Args:
        probe: its settings.
        table: its rows.
        axes: drawn on.
    """
    errors, seconds = by_method(table, "error"), by_method(table, "seconds")
    for i, name in enumerate(errors):
        x, y = [], []
        for K, line in errors[name].items():
            cost = seconds.get(name, {}).get(K)
            if line.value and cost is not None and cost.value:
                x.append(cost.value)
                y.append(line.value)
        axes.plot(x, y, **styled(i), label=name)
    finished(axes, "seconds", "relative error")


def more(probe: Agreement, table: pd.DataFrame) -> list[Drawing]:
    """Return the further figures: memory, error to the unroll, and causes of the error."""
    drawn = [
        ("bytes", "How does memory grow with K?", "Peak memory of one task, counted from torch's "
         "allocations. A method with a flat line stores no inner iterates.", "bytes"),
        ("error_unrolled", "How far is each method from the exact gradient through K steps?",
         "Median relative error with respect to the exact gradient of the query loss at phi_K, "
         "with 95 % intervals. The unroll computes this gradient, so its line shows round-off.",
         "relative error"),
    ]  # fmt: skip
    made = [
        Drawing(title, caption, partial(over_k, table, quantity=quantity, label=label))
        for quantity, title, caption, label in drawn
    ]
    caption = (
        "Error of each method at the largest K, relative to the gradient at the inner minimum, by "
        "cause: phi_K is not the minimum (inner convergence), the solver or the method is not "
        "exact, and float32 has round-off (arithmetic)."
    )
    return [
        *made,
        Drawing("What causes the error?", caption, lambda axes: _draw_parts(table, axes)),
    ]


def _draw_parts(table: pd.DataFrame, axes: Axes) -> None:
    lines = from_table(table, "error_part", of=None)
    last = max((r.at or 0 for r in lines), default=0)
    lines = [r for r in lines if r.at == last and r.value]
    methods = list(dict.fromkeys(r.of.partition(": ")[0] for r in lines))
    colors = {"inner convergence": 0, "solver": 1, "method": 2, "arithmetic": 3}
    seen = set()
    for r in lines:
        method, _, part = r.of.partition(": ")
        label = None if part in seen else part
        seen.add(part)
        axes.plot(r.value or 0, methods.index(method), "o", color=color(colors[part]), ms=5,
                  label=label)  # fmt: skip
    axes.set_yticks(range(len(methods)), methods)
    axes.set_xscale("log")
    axes.set_xlabel("error relative to the gradient at the minimum")
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=8)
    open_frame(axes)
