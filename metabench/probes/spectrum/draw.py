"""The spectrum's figures: extreme eigenvalues with the edge, densities, and convergence of CG."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.bands import band
from metabench.probes.base import Drawing
from metabench.probes.figure_style import PALETTE, open_frame
from metabench.records.number_format import number
from metabench.records.rows import Row, from_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from metabench.probes.spectrum import Spectrum

QUESTION = "How are the eigenvalues spread?"
CAPTION = (
    "Share of the inner Hessian's eigenvalues below each value, mean over tasks. The band covers "
    "the interval over tasks and start vectors and the error of the quadrature, which is large at "
    "the step where many eigenvalues are close to zero."
)
SOLVE = "How fast do conjugate gradients converge?"
SOLVE_CAPTION = (
    "Relative residual of the implicit linear system after each step (median over tasks, with its "
    "95 % interval), and its bound from the condition number of the inner objective's Hessian at "
    "phi_K. The bound is 1 where a task's Hessian is not positive definite."
)
STYLES = {"start": "-", "adapted": "--", "preconditioned": "-."}
WORDS = {
    "start": "at the start of the inner loop",
    "adapted": "at the end",
    "preconditioned": "at the end, as scaled by the optimizer's step",
}


def draw(probe: Spectrum, table: pd.DataFrame, axes: Axes) -> None:
    """Draw the largest and the smallest eigenvalue against the share of tasks below.

    Args:
        probe: its settings (unused).
        table: a measured table.
        axes: where to draw.
    """
    blue, orange = PALETTE[:2]
    axes.set(xlabel="share of tasks below", ylabel="extreme eigenvalues of the inner Hessian")
    drawn = []
    for end, color in (("largest", orange), ("smallest", blue)):
        for place, style in STYLES.items():
            rows = _rows(table, f"{end}_over_tasks", place)
            label = f"{end} {WORDS[place]}"
            drawn += _band(axes, rows, color, style, label)
    if not drawn:
        _nothing(axes)
        return
    limit = _limit(table)
    if limit:
        axes.axhline(
            limit, color="gray", linestyle=":", label=f"edge of stability / rate = {number(limit)}"
        )
    axes.set_yscale("symlog", linthresh=_threshold(drawn))
    axes.legend(frameon=False, fontsize="small")
    open_frame(axes)


def more(probe: Spectrum, table: pd.DataFrame) -> list[Drawing]:
    """Return the figures of densities and of the convergence of CG, where measured."""
    further = (
        (QUESTION, CAPTION, _draw_density, "cumulative_density"),
        (SOLVE, SOLVE_CAPTION, _draw_solve, "cg_residual"),
    )
    return [
        Drawing(question, caption, partial(sketch, table), (quantity,))
        for question, caption, sketch, quantity in further
        if (table["quantity"] == quantity).any()
    ]


def _draw_density(table: pd.DataFrame, axes: Axes) -> None:
    """Draw the cumulative density of each place with its band."""
    blue, orange = PALETTE[:2]
    axes.set(xlabel="eigenvalue of the inner Hessian", ylabel="share of eigenvalues below")
    drawn = []
    for place, color in (("start", blue), ("adapted", orange)):
        rows = _rows(table, "cumulative_density", place)
        drawn += _band(axes, rows, color, STYLES[place], WORDS[place])
    if not drawn:
        _nothing(axes)
        return
    limit = _limit(table)
    if limit and not _rows(table, "largest_eigenvalue", "preconditioned"):
        axes.axvline(
            limit, color="gray", linestyle=":", label=f"edge of stability / rate = {number(limit)}"
        )
    size = max(abs(row.at or 0.0) for row in drawn)
    axes.set_xscale("symlog", linthresh=max(1e-3 * size, 1e-300))
    axes.legend(frameon=False, fontsize="small", loc="upper left")
    open_frame(axes)


def _draw_solve(table: pd.DataFrame, axes: Axes) -> None:
    """Draw the residual of conjugate gradients against steps, measured and bounded."""
    blue, orange = PALETTE[:2]
    axes.set(xlabel="steps of conjugate gradients", ylabel="relative residual, median task")
    for of, color, style in (("measured", blue, "-"), ("bound", orange, "--")):
        rows = [row for row in from_table(table, "cg_residual", of=of) if row.value]
        _band(axes, rows, color, style, of)
    axes.set_yscale("log")
    axes.legend(frameon=False)
    open_frame(axes)


def _band(axes: Axes, rows: list[Row], color: object, style: str, label: str) -> list[Row]:
    rows = [row for row in rows if row.value is not None]
    if not rows:
        return []
    at, value, low, high = band(rows)
    axes.fill_between(at, low, high, color=color, alpha=0.3, linewidth=0)
    axes.plot(at, value, color=color, linestyle=style, label=label)
    return rows


def _rows(table: pd.DataFrame, quantity: str, place: str) -> list[Row]:
    return from_table(table, quantity, of=place)


def _limit(table: pd.DataFrame) -> float | None:
    """Return the eigenvalue beyond which steps grow, if the optimizer has an edge and a rate."""
    values = [row.value for name in ("edge", "rate") for row in from_table(table, name)]
    if len(values) < 2 or values[0] is None or not values[1]:
        return None
    return values[0] / values[1]


def _threshold(rows: list[Row]) -> float:
    """Return the value below which the axis is linear: a low quantile of the sizes drawn."""
    sizes = [abs(row.value) for row in rows if row.value]
    return max(float(np.quantile(sizes, 0.1)) if sizes else 1.0, 1e-300)


def _nothing(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "no finite spectrum to draw", ha="center", transform=axes.transAxes)
