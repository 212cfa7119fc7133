"""Labels of cells: the fewest settings that distinguish them, the seed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metabench.report.evidence import missing, plain
from metabench.settings.printed_names import printed_name

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("algo", "family")


def labels(cells: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """Return `probe`, `algo`, `family`, `other`, `seed` and the joined `label` of each cell.

    Cells that differ only in their seed have labels that differ only there. A setting that is
    determined by others, such as a chunk size, is left out.
    """
    import pandas as pd

    if "theta" in settings:
        cells = cells.assign(theta=_by_name(cells["theta"].map(setting_text)))
    names = [name for name in ("probe", *PARTS) if name in settings]
    found = pd.DataFrame("", index=cells.index, columns=["probe", *PARTS, "other", "seed"])
    for name in names:
        found[name] = _printed(cells[name].map(setting_text))
    if "seed" in settings:
        found["seed"] = cells["seed"].map(setting_text)
    for _, group in cells.groupby(found["probe"], sort=False):
        for name in _distinguishing(group, names, settings):
            part = next((p for p in PARTS if name.startswith(f"{p}.")), "other")
            word = name.removeprefix(f"{part}.")
            texts = [f"{word}={text}" if (text := setting_text(v)) else "" for v in group[name]]
            pairs = zip(found.loc[group.index, part], texts, strict=True)
            found.loc[group.index, part] = [", ".join(filter(None, pair)) for pair in pairs]
    several = found["probe"].nunique() > 1, found["seed"].nunique() > 1
    found["label"] = [_label(line, *several) for line in found.to_dict("records")]
    return found


def who_of(cells: pd.DataFrame) -> pd.Series[str]:
    """Return the name of each cell's condition: algorithm, family settings and others."""
    import pandas as pd

    tasks = cells["family"].str.partition(", ")[2]
    lines = zip(cells["algo"], tasks, cells["other"], strict=True)
    words_of = ["; ".join(filter(None, line)) for line in lines]
    return pd.Series(words_of, index=cells.index, dtype=object)


def without(cells: pd.DataFrame, axis: str) -> pd.Series[str]:
    """Return the name of each cell's condition without one setting."""
    word = axis.partition(".")[2]
    return who_of(cells).map(lambda label: _left_out(label, f"{word}="))


def _by_name(files: pd.Series[str]) -> pd.Series[str]:
    """Drop the digests of files if their names are distinct."""
    names = files.str.partition("@")[0]
    return names if names.nunique() == files.nunique() else files


def _printed(names: pd.Series[str]) -> pd.Series[str]:
    """Write members of files as people do, unless a file was changed between cells."""
    shown = names.map(printed_name)
    return shown if shown.nunique() == names.nunique() else names


def _label(line: Mapping[Any, str], probe: bool, seed: bool) -> str:
    who = " on ".join(filter(None, (line[part] for part in PARTS)))
    first = line["probe"] if probe else ""
    last = f"seed {line['seed']}" if seed and line["seed"] else ""
    return "; ".join(filter(None, (first, who, line["other"], last))) or "cell"


def setting_text(value: Any) -> str:
    """Write a setting as text; blank if missing.

    >>> setting_text(5.0), setting_text("maml"), setting_text(float("nan"))
    ('5', 'maml', '')
    """
    if missing(value):
        return ""
    value = plain(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _distinguishing(
    cells: pd.DataFrame, names: Sequence[str], settings: Sequence[str]
) -> list[str]:
    """List the settings that distinguish cells of one seed, besides the names."""
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
    """Return the group number of each cell: equal settings, inside the groups of `within`."""
    import pandas as pd

    keys = pd.Series(0, index=cells.index) if within is None else within
    for name in names:
        codes, _ = pd.factorize(cells[name].map(setting_text))
        keys = pd.Series(
            pd.factorize(keys.to_numpy() * (codes.max() + 1) + codes)[0], index=cells.index
        )
    return keys


def _left_out(label: str, start: str) -> str:
    """Drop the parts of a label that begin with `start`.

    >>> _left_out("maml, steps=5, step.rate=0.1; dtype=float64", "steps=")
    'maml, step.rate=0.1; dtype=float64'
    """
    parts = [[w for w in part.split(", ") if not w.startswith(start)] for part in label.split("; ")]
    return "; ".join(", ".join(part) for part in parts if part)
