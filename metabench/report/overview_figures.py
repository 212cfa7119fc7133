"""Figures of many cells: curves side by side, a number against a setting, where it diverges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from metabench.probes.base import Drawing, Probe
from metabench.records.rows import Row, rows_of
from metabench.report.comparison_tables import combined, compared
from metabench.report.evidence import Evidence
from metabench.report.labels import said
from metabench.report.text_tables import words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINES = 6  # curves in one figure: beyond it neither colours nor dashes are told apart
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)))
MARKERS = "osD^vX"
FEW = 8  # places on an axis that each get a tick and a bar; more are a band
CELLS = 2000  # cells that are drawn together
FAMILIES = 2  # families with a figure of their own
ALGORITHMS = 2  # algorithms with a map of their own, the worst first
STEPS = 3  # values that make a setting an axis
INTERVALS = "Bars and bands are 95 % intervals, over seeds where there are several."


def overviews(
    evidence: Evidence, labels: pd.DataFrame, probes: Mapping[str, Probe]
) -> list[Drawing]:
    """Give the figures that compare the cells of each probe; none where one cell stands alone."""
    made = []
    for name, probe in probes.items():
        cells = labels[labels["probe"] == name]
        if len(cells) < 2:
            continue
        if len(cells) > CELLS:  # evenly chosen, as the cells that are diagnosed
            cells = cells.iloc[[i * len(cells) // CELLS for i in range(CELLS)]]
        rows = evidence.rows[evidence.rows["cell"].isin(cells.index)]
        families = cells["family"].str.partition(", ")[0]
        for family in list(dict.fromkeys(families))[:FAMILIES]:
            part = cells[families == family]
            there = rows[rows["cell"].isin(part.index)]
            on = f" on {family}" if family else ""
            made += _curves(probe, there, part, on)
            made += _against_settings(evidence, probe, there, part, on)
            made += _maps(evidence, there, part, on)
    return made


def _curves(probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame, on: str) -> list[Drawing]:
    """Draw each quantity of `probe.curves` against its axis, a line an algorithm."""
    made = []
    who = _who(cells)
    for quantity in probe.curves:
        part = rows[(rows["quantity"] == quantity) & rows["at"].notna() & _plain(rows)]
        data = _gathered(part, part["cell"].map(who), part["at"])
        if len(data) and data["algorithm"].nunique() > 1:
            title = f"{words(quantity)} against {probe.axis}{on}"
            made.append(_lines(title, data, probe.axis, quantity))
    return made


def _against_settings(
    evidence: Evidence, probe: Probe, rows: pd.DataFrame, cells: pd.DataFrame, on: str
) -> list[Drawing]:
    """Draw each compared quantity against each numeric setting; without one, as points."""
    made = []
    names = compared(evidence, cells, probe)
    axes = numeric(evidence, cells)
    for name in names:
        quantity, _, of = name.partition(", ")
        part = rows[(rows["quantity"] == quantity) & (rows["of"] == of) & rows["at"].isna()]
        part = part[part["layer"] == ""]
        if not part["value"].notna().any():
            continue
        for axis in axes:
            who = _without(cells, axis)
            x = part["cell"].map(evidence.cells[axis].astype(float))
            data = _gathered(part, part["cell"].map(who), x)
            if data["value"].notna().sum() > 1:
                label = axis.rpartition(".")[2]
                made.append(_lines(f"{words(name)} against {words(label)}{on}", data, label, name))
        if not axes and cells["algo"].nunique() > 1:
            who = _who(cells)
            data = _gathered(part, part["cell"].map(who), part["cell"] * 0.0)
            made.append(_points(f"{words(name)}{on}", data, name))
    return made


def numeric(evidence: Evidence, cells: pd.DataFrame) -> list[str]:
    """List the settings of algorithm and family that take several numbers, all else equal."""
    found = []
    known = {*cells["algo"], *cells["family"]}
    for name in evidence.settings:
        if not name.startswith(("algo.", "family.")) or name.endswith(".version"):
            continue
        word = name.partition(".")[2]
        if not any(f"{word}=" in label for label in known):
            continue  # it follows from others
        values = evidence.cells[name][cells.index].dropna()
        try:
            numbers = values.astype(float)
        except (TypeError, ValueError):
            continue
        if numbers.nunique() >= STEPS and np.isfinite(numbers).all():
            found.append(name)
    return found


def _maps(evidence: Evidence, rows: pd.DataFrame, cells: pd.DataFrame, on: str) -> list[Drawing]:
    """Draw the share that diverged over each pair of numeric settings, if any did."""
    axes = numeric(evidence, cells)[:3]
    share = _diverged(evidence, rows, cells)
    if not (share > 0).any():
        return []
    made = []
    for i, x in enumerate(axes):
        for y in axes[i + 1 :]:
            names = cells["algo"].str.partition(", ")[0]
            worst = (
                share.groupby(names, sort=False).mean().sort_values(ascending=False, kind="stable")
            )
            for algo in worst.index[worst > 0][:ALGORITHMS]:
                part = cells.index[names == algo]
                made.append(_map(evidence, share[part], (x, y), f"{algo}{on}"))
    return made


def _diverged(evidence: Evidence, rows: pd.DataFrame, cells: pd.DataFrame) -> pd.Series[float]:
    """Give the share of each cell's measurements that diverged, or 1 if it has no shares."""
    outcome = (evidence.cells["outcome"][cells.index] == "diverged").astype(float)
    part = rows[(rows["quantity"] == "diverged") & rows["value"].notna() & (rows["layer"] == "")]
    first = part.drop_duplicates("cell").set_index("cell")["value"]
    return first.reindex(outcome.index).fillna(outcome)


def _map(evidence: Evidence, share: pd.Series[float], axes: tuple[str, str], of: str) -> Drawing:
    x, y = axes
    table = evidence.cells.loc[share.index, [x, y]].astype(float).assign(diverged=share)
    wide = table.pivot_table(index=y, columns=x, values="diverged", aggfunc="mean")
    wide = wide.sort_index(ascending=False)
    names = [axis.rpartition(".")[2] for axis in axes]

    def draw(axes: Axes) -> None:
        import seaborn as sns

        annotated = wide.size <= 100
        sns.heatmap(wide, ax=axes, vmin=0, vmax=1, cmap="cividis", annot=annotated, fmt=".2g",
                    linewidths=0.5, cbar=not annotated)  # fmt: skip
        axes.set_xticks(np.arange(wide.shape[1]) + 0.5, list(map(said, wide.columns)), rotation=0)
        axes.set_yticks(np.arange(wide.shape[0]) + 0.5, list(map(said, wide.index)), rotation=0)
        axes.set(xlabel=words(names[0]), ylabel=words(names[1]))

    title = f"Where does {of} diverge?"
    caption = (
        f"Share of single-task meta-gradients that are not finite, over {words(names[0])} and "
        f"{words(names[1])}, mean over all else. Light cells diverge."
    )
    return Drawing(
        title,
        caption,
        draw,
        ("diverged",),
        table.rename(columns=dict(zip(axes, names, strict=True))),
    )


def _gathered(rows: pd.DataFrame, who: pd.Series[str], x: pd.Series[float]) -> pd.DataFrame:
    """Join seeds: a line of `algorithm`, `x`, value, low, high for each condition."""
    import pandas as pd

    groups: dict[tuple[str, float], list[Row]] = {}
    made = rows_of(rows[list(Row._fields)].itertuples(index=False))
    for name, place, row in zip(who, x, made, strict=True):
        groups.setdefault((name, place), []).append(row)
    found = [(*key, *combined(part)[:3]) for key, part in groups.items()]
    table = pd.DataFrame(found, columns=["algorithm", "x", "value", "low", "high"])
    return table.astype(dict.fromkeys(("x", "value", "low", "high"), float))


def _lines(title: str, data: pd.DataFrame, axis: str, quantity: str) -> Drawing:
    names = list(dict.fromkeys(data["algorithm"]))
    shown = names[:LINES]
    caption = f"{INTERVALS} Each line is an algorithm with its settings."
    if len(names) > LINES:
        caption += f" The first {LINES} of {len(names)} are drawn; the CSV holds all."

    def draw(axes: Axes) -> None:
        import seaborn as sns

        colours = sns.color_palette("colorblind", len(shown))
        for i, name in enumerate(shown):
            part = data[(data["algorithm"] == name) & data["value"].notna()].sort_values("x")
            style: Any = {"linestyle": DASHES[i], "marker": MARKERS[i], "color": colours[i]}
            low, high = (part[end].fillna(part["value"]) for end in ("low", "high"))
            if len(part) > FEW:
                axes.fill_between(part["x"], low, high, color=colours[i], alpha=0.15, linewidth=0)
            else:
                axes.vlines(part["x"], low, high, color=colours[i], alpha=0.5, linewidth=2.5)
            axes.plot(part["x"], part["value"], label=name, markersize=5, **style)
        _scaled(axes, data)
        axes.set(xlabel=words(axis), ylabel=words(quantity))
        _legend(axes, shown)
        sns.despine(ax=axes)

    named = data.rename(columns={"x": axis})
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def _points(title: str, data: pd.DataFrame, quantity: str) -> Drawing:
    shown = data[data["value"].notna()][:24]

    def draw(axes: Axes) -> None:
        import seaborn as sns

        colour = sns.color_palette("colorblind", 1)[0]
        places = np.arange(len(shown))
        ends = [shown["value"] - shown["low"].fillna(shown["value"]),
                shown["high"].fillna(shown["value"]) - shown["value"]]  # fmt: skip
        bars = np.clip(np.array(ends, dtype=float), 0, None)
        axes.errorbar(shown["value"], places, xerr=bars, fmt="o", color=colour, capsize=3)
        axes.set_yticks(places, list(shown["algorithm"]))
        axes.invert_yaxis()
        axes.set_xlabel(words(quantity))
        sns.despine(ax=axes)

    caption = f"{INTERVALS} An algorithm without a number isn't drawn."
    named = data.drop(columns="x")
    return Drawing(_sentence(title), caption, draw, (quantity.partition(", ")[0],), named)


def _scaled(axes: Axes, data: pd.DataFrame) -> None:
    """Choose logarithmic axes for what is positive and spans more than half a decade."""
    from matplotlib.ticker import LogLocator, NullLocator

    setters: list[tuple[Callable[[str], None], np.ndarray[Any, Any]]] = [
        (axes.set_xscale, data["x"].to_numpy()),
        (axes.set_yscale, data["value"].dropna().to_numpy()),
    ]
    for scale, values in setters:
        if len(values) and values.min() > 0 and values.max() > 4 * values.min():
            scale("log")
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        if high < 1000 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter(lambda y, _: "")
    places = np.unique(data["x"])
    if len(places) <= FEW:
        axes.set_xticks(places, list(map(said, places)))
        axes.xaxis.set_minor_locator(NullLocator())
    elif axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.xaxis.set_minor_formatter(lambda x, _: "")


def _legend(axes: Axes, names: Sequence[str]) -> None:
    """Put the legend above the axes, where it hides nothing; long names one below the other."""
    columns = max(1, min(len(names), 64 // (max(map(len, names)) + 8)))
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns,
                fontsize=8)  # fmt: skip


def _who(cells: pd.DataFrame) -> pd.Series[str]:
    """Name each cell by the algorithm, the family's settings and the rest."""
    import pandas as pd

    tasks = cells["family"].str.partition(", ")[2]
    lines = zip(cells["algo"], tasks, cells["other"], strict=True)
    words_of = ["; ".join(filter(None, line)) for line in lines]
    return pd.Series(words_of, index=cells.index, dtype=object)


def _without(cells: pd.DataFrame, axis: str) -> pd.Series[str]:
    """Name each cell by all of its words but one setting."""
    word = axis.partition(".")[2]
    return _who(cells).map(lambda label: _left_out(label, f"{word}="))


def _left_out(label: str, start: str) -> str:
    """Drop a word of a label.

    >>> _left_out("maml, steps=5, step.rate=0.1; dtype=float64", "steps=")
    'maml, step.rate=0.1; dtype=float64'
    """
    parts = [[w for w in part.split(", ") if not w.startswith(start)] for part in label.split("; ")]
    return "; ".join(", ".join(part) for part in parts if part)


def _plain(rows: pd.DataFrame) -> pd.Series[bool]:
    return (rows["of"] == "") & (rows["layer"] == "")


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]
