"""Maps of divergence over pairs of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from metabench.probes.base import Drawing, Probe
from metabench.report.evidence import Evidence
from metabench.report.labels import setting_text
from metabench.report.quantity_names import words
from metabench.report.setting_axes import numeric

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_ANNOTATED = 100  # fields with their share written in; more get a color bar
LIGHT = 0.55  # share whose color is light enough for dark text
MOST_ALGORITHMS = 2  # with a map of each pair, those that diverge most


def maps(
    evidence: Evidence, probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame, on: str
) -> list[Drawing]:
    """Draw the share of diverged measurements over each pair of numeric settings, if any.

    Args:
        evidence: the cells and their numbers.
        probe: the probe that measured them.
        rows: rows of these cells.
        cells: labels of these cells.
        on: end of the titles, such as " on sinusoid".
    """
    axes = numeric(evidence, cells)[:3]
    share = _diverged_shares(evidence, probe, rows, cells)
    if not (share > 0).any():
        return []
    made = []
    for i, x in enumerate(axes):
        for y in axes[i + 1 :]:
            names = cells["algo"].str.partition(", ")[0]
            worst = (
                share.groupby(names, sort=False).mean().sort_values(ascending=False, kind="stable")
            )
            for algo in worst.index[worst > 0][:MOST_ALGORITHMS]:
                part = cells.index[names == algo]
                made.append(_map(evidence, share[part], (x, y), f"{algo}{on}"))
    return made


def _diverged_shares(
    evidence: Evidence, probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame
) -> pd.Series[float]:
    """Return the share of each cell's measurements that diverged; 1 or 0 if not recorded.

    Where shares are recorded for several K it is that of the cell's own K, or of the largest below
    it; where they are recorded for several B it is that of the smallest.
    """
    outcome = (evidence.cells["outcome"][cells.index] == "diverged").astype(float)
    part = rows[(rows["quantity"] == "diverged") & rows["value"].notna() & (rows["layer"] == "")]
    part = part[part["of"] == ""]
    by_steps = probe.axis == "K" and "algo.steps" in evidence.cells
    if by_steps:
        part = part[~(part["at"] > part["cell"].map(evidence.cells["algo.steps"].astype(float)))]
    part = part.sort_values("at", ascending=not by_steps, kind="stable")
    first = part.drop_duplicates("cell").set_index("cell")["value"]
    return first.reindex(outcome.index).fillna(outcome)


def _map(evidence: Evidence, share: pd.Series[float], axes: tuple[str, str], of: str) -> Drawing:
    x, y = axes
    table = evidence.cells.loc[share.index, [x, y]].astype(float).assign(diverged=share)
    wide = table.pivot_table(index=y, columns=x, values="diverged", aggfunc="mean")
    wide = wide.sort_index(ascending=False)
    names = [axis.rpartition(".")[2] for axis in axes]

    def draw(axes: Axes) -> None:
        shares = wide.to_numpy()
        mesh = axes.pcolormesh(shares, vmin=0, vmax=1, cmap="cividis", edgecolors="w", lw=0.5)
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if shares.size > MOST_ANNOTATED:
            axes.figure.colorbar(mesh, ax=axes)
        else:
            _annotate(axes, shares)
        axes.set_xticks(
            np.arange(wide.shape[1]) + 0.5, list(map(setting_text, wide.columns)), rotation=0
        )
        axes.set_yticks(
            np.arange(wide.shape[0]) + 0.5, list(map(setting_text, wide.index)), rotation=0
        )
        axes.set(xlabel=words(names[0]), ylabel=words(names[1]))

    title = f"Where does {of} diverge?"
    caption = (
        f"Share of single-task meta-gradients that are not finite, over {words(names[0])} and "
        f"{words(names[1])}, averaged over all other settings; 1 or 0 where a cell has no such "
        "share. Light: more divergence."
    )
    return Drawing(
        title,
        caption,
        draw,
        ("diverged",),
        table.rename(columns=dict(zip(axes, names, strict=True))),
    )


def _annotate(axes: Axes, shares: NDArray[np.float64]) -> None:
    """Write each share into its field."""
    for i, j in np.argwhere(np.isfinite(shares)):
        color = "0.15" if shares[i, j] > LIGHT else "w"
        axes.text(j + 0.5, i + 0.5, f"{shares[i, j]:.2g}", ha="center", va="center", color=color)
