"""Which words tell cells apart? The fewest settings that do, the seed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.report.evidence import missing, plain

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("algo", "family")


def labels(cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Give `probe`, `algo`, `family`, `other` and `seed` of each cell, and all in one as `label`.

    Cells that share all but the seed are repetitions of one measurement: they share all words but
    the seed's. A setting that follows from others, as a chunk size does, is not a word.
    """
    import pandas as pd

    if "theta" in settings:
        cells = cells.assign(theta=_by_name(cells["theta"].map(said)))
    names = [name for name in ("probe", *PARTS) if name in settings]
    found = pd.DataFrame("", index=cells.index, columns=["probe", *PARTS, "other", "seed"])
    for name in names:
        found[name] = cells[name].map(said)
    if "seed" in settings:
        found["seed"] = cells["seed"].map(said)
    for _, group in cells.groupby(found["probe"], sort=False):
        for name in _telling(group, names, settings):
            part = next((p for p in PARTS if name.startswith(f"{p}.")), "other")
            word = name.removeprefix(f"{part}.")
            texts = [f"{word}={text}" if (text := said(v)) else "" for v in group[name]]
            pairs = zip(found.loc[group.index, part], texts, strict=True)
            found.loc[group.index, part] = [", ".join(filter(None, pair)) for pair in pairs]
    several = found["probe"].nunique() > 1, found["seed"].nunique() > 1
    found["label"] = [_label(line, *several) for line in found.to_dict("records")]
    return found


def who_of(cells: pd.DataFrame) -> pd.Series[str]:
    """Name each cell by the algorithm, the family's settings and the rest."""
    import pandas as pd

    tasks = cells["family"].str.partition(", ")[2]
    lines = zip(cells["algo"], tasks, cells["other"], strict=True)
    words_of = ["; ".join(filter(None, line)) for line in lines]
    return pd.Series(words_of, index=cells.index, dtype=object)


def without(cells: pd.DataFrame, axis: str) -> pd.Series[str]:
    """Name each cell by all of its words but one setting."""
    word = axis.partition(".")[2]
    return who_of(cells).map(lambda label: _left_out(label, f"{word}="))


def _by_name(files: pd.Series[str]) -> pd.Series[str]:
    """Leave out the digests of files whose names tell them apart."""
    names = files.str.partition("@")[0]
    return names if names.nunique() == files.nunique() else files


def _label(line: Mapping[Any, str], probe: bool, seed: bool) -> str:
    who = " on ".join(filter(None, (line[part] for part in PARTS)))
    first = line["probe"] if probe else ""
    last = f"seed {line['seed']}" if seed and line["seed"] else ""
    return "; ".join(filter(None, (first, who, line["other"], last))) or "cell"


def said(value: Any) -> str:
    """Write a setting as text; one that a cell doesn't have is blank.

    >>> said(5.0), said("maml"), said(float("nan"))
    ('5', 'maml', '')
    """
    if missing(value):
        return ""
    value = plain(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _telling(cells: pd.DataFrame, names: Sequence[str], settings: Sequence[str]) -> list[str]:
    """List the settings that are needed, besides the names, to tell cells of one seed apart."""
    order = sorted(
        (name for name in settings if name not in (*names, "seed")),
        key=lambda name: (not name.startswith("algo."), not name.startswith("family.")),
    )
    keys = _numbered(cells, [*names, *(["seed"] if "seed" in settings else [])])
    count, needed = keys.nunique(), []
    for name in order:
        finer = _numbered(cells, [name], keys)
        if finer.nunique() > count:
            needed.append(name)
            keys, count = finer, finer.nunique()
    return needed


def _numbered(
    cells: pd.DataFrame, names: Sequence[str], within: pd.Series[Any] | None = None
) -> pd.Series[Any]:
    """Number the groups of equal settings, blanks among them, inside the groups of `within`."""
    import pandas as pd

    keys = pd.Series(0, index=cells.index) if within is None else within
    for name in names:
        codes, _ = pd.factorize(cells[name].map(said))
        keys = pd.Series(
            pd.factorize(keys.to_numpy() * (codes.max() + 1) + codes)[0], index=cells.index
        )
    return keys


def _left_out(label: str, start: str) -> str:
    """Drop a word of a label.

    >>> _left_out("maml, steps=5, step.rate=0.1; dtype=float64", "steps=")
    'maml, step.rate=0.1; dtype=float64'
    """
    parts = [[w for w in part.split(", ") if not w.startswith(start)] for part in label.split("; ")]
    return "; ".join(", ".join(part) for part in parts if part)
