"""Comparison of two stores, cell by cell: changed numbers, new failures, slower cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from metabench.grid.execution.run_cell import FINAL
from metabench.records.store.tables import OWN, Tables, setting_text
from metabench.settings.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

ROUND_OFF = 1e-4  # relative; float32 sums in another order stay below it
SLOWER = 1.1  # ratio of seconds that is called slower when its whole interval lies above
FEWEST_SEEDS = 4  # below, a Student interval is arbitrarily wide, or of width 0 by chance
PLACE = ["quantity", "at", "of", "layer"]


class Comparison(NamedTuple):
    """Differences between two stores, A and B."""

    pairs: int  # cells with a result in both
    only: tuple[int, int]  # cells in A alone, in B alone
    worse: tuple[str, ...]  # digests with a result in A and a failure in B
    moved: pd.DataFrame  # a line for each setting and quantity: difference B - A, paired by seed
    seconds: tuple[float, float, float] | None  # ratio B / A with its interval, over all cells

    @property
    def regressed(self) -> bool:
        """Whether B is worse: cells fail that did not, numbers changed, or cells became slower."""
        slower = self.seconds is not None and self.seconds[1] > SLOWER
        return bool(self.worse) or len(self.moved) > 0 or slower


def compare(A: Tables, B: Tables) -> Comparison:
    """Compare the cells of two stores, paired by their settings; class versions may differ.

    Raises:
        InvalidInput: if no cell is in both.
    """
    names = sorted(_settings(A.cells) & _settings(B.cells))
    first, second = _keyed(A, names), _keyed(B, names)
    both = first.index.intersection(second.index)
    if not len(both):
        raise InvalidInput("The stores have no cell in common; compare stores of the same study.")
    fine = [table["outcome"].loc[both].isin(FINAL).to_numpy() for table in (first, second)]
    results = both[fine[0] & fine[1]]
    return Comparison(
        pairs=len(results),
        only=(len(first) - len(both), len(second) - len(both)),
        worse=tuple(map(str, second.loc[both[fine[0] & ~fine[1]], "digest"])),
        moved=_moved(_numbers(A, names, results), _numbers(B, names, results)),
        seconds=_ratio(first.loc[results, "seconds"], second.loc[results, "seconds"]),
    )


def _settings(cells: pd.DataFrame) -> set[str]:
    names = set(map(str, cells)) - set(OWN)
    return {name for name in names if not name.endswith(".version")}


def _keys(cells: pd.DataFrame, names: list[str]) -> pd.Series[Any]:
    """Return each cell's settings as one text."""
    from pandas.api.types import is_numeric_dtype

    keys = cells["digest"].astype(str).str[:0]
    for name in names:
        column = cells[name]
        plain = column.astype(float if is_numeric_dtype(column) else object)  # no categories
        keys = keys + f"{name}=" + plain.map(setting_text) + " "
    return keys


def _keyed(found: Tables, names: list[str]) -> pd.DataFrame:
    cells = found.cells.assign(key=_keys(found.cells, names))
    return cells.drop_duplicates("key", keep="last").set_index("key")


def _numbers(found: Tables, names: list[str], keys: pd.Index[Any]) -> pd.DataFrame:
    """Return the rows of these cells, except seconds."""
    key = _keys(found.cells, names).take(found.rows["cell"].to_numpy()).to_numpy()
    table = found.rows.assign(key=key)
    table = table.astype({"quantity": str, "of": str, "layer": str, "status": str})
    return table[table["key"].isin(keys) & ~table["quantity"].str.contains("seconds")]


def _moved(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each setting and quantity that differs beyond round-off in any seed.

    The difference is the mean over all seeds, also those without a difference.
    """
    import pandas as pd

    pairs = first.merge(second, on=["key", *PLACE], how="outer", suffixes=("_a", "_b"))
    gap = (pairs["value_b"] - pairs["value_a"]).abs()
    scale = pairs[["value_a", "value_b"]].abs().max(axis=1)
    one_lacks = pairs["value_a"].isna() != pairs["value_b"].isna()
    pairs["differs"] = (gap > ROUND_OFF * scale) | one_lacks
    pairs["settings"] = pairs["key"].str.replace(r"seed=\S+ ", "", regex=True)
    seeds = pairs.groupby(["settings", *PLACE], dropna=False)
    hit = pairs[seeds["differs"].transform("any")]
    lines = [
        {"settings": key[0], **dict(zip(PLACE, key[1:], strict=True)), **_difference(group)}
        for key, group in hit.groupby(["settings", *PLACE], dropna=False)
    ]
    return pd.DataFrame(lines, columns=["settings", *PLACE, "cells", "difference", "low", "high"])


def _difference(group: pd.DataFrame) -> dict[str, float]:
    """Return the mean of B - A over seeds; from four seeds with Student's 95 % interval."""
    gaps = (group["value_b"] - group["value_a"]).dropna().to_numpy(float)
    mean, low, high = _student(gaps)
    return {"cells": len(group), "difference": mean, "low": low, "high": high}


def _ratio(first: pd.Series[Any], second: pd.Series[Any]) -> tuple[float, float, float] | None:
    """Return the geometric mean of B / A; from four cells with its interval, None for one."""
    logs = np.log(second.to_numpy(float) / first.to_numpy(float))
    if len(logs) < 2:
        return None
    mean, low, high = (float(np.exp(x)) for x in _student(logs))
    return mean, low, high


def _student(sample: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float]:
    """Return the mean with its 95 % interval; below four numbers, NaN ends."""
    from scipy.stats import t

    n = len(sample)
    if n < FEWEST_SEEDS:
        return float(sample.mean()) if n else float("nan"), float("nan"), float("nan")
    half = float(t.ppf(0.975, n - 1)) * float(sample.std(ddof=1)) / n**0.5
    mean = float(sample.mean())
    return mean, mean - half, mean + half
