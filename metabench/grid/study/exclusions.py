"""Cells that a study's `exclude` entries drop."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabench.grid.study.columns import DETERMINED_BY, Columns
from metabench.records.rows import flatten
from metabench.settings.errors import InvalidInput, inside, unknown
from metabench.settings.synonyms import keys_among

Pattern = Mapping[str, Any]
Flat = Mapping[str, Sequence[Mapping[str, Any]]]  # by key of a spec: its values, flattened


def patterns_of(given: Any) -> list[dict[str, Any]]:
    """Return the tables of `exclude`.

    Raises:
        InvalidInput: if it is no list of tables, or one of them is empty.
    """
    with inside("exclude"):
        listed = isinstance(given, list) and all(isinstance(each, Mapping) for each in given)
        if not listed:
            what = "a table [exclude]" if isinstance(given, Mapping) else repr(given)
            raise InvalidInput(
                f"exclude is {what}; write [[exclude]] with settings of the cells to drop, such "
                "as algo.steps = 5."
            )
        for i, pattern in enumerate(given):
            if not pattern:
                with inside(str(i)):
                    raise InvalidInput(
                        "The exclusion has no settings, so it matches all cells; name some."
                    )
    return list(given)


def excluded(
    tables: Sequence[Columns], patterns: Sequence[Pattern], whole: bool = True
) -> list[NDArray[np.bool_]]:
    """Return, for each table of columns, which of its cells match an exclusion.

    Args:
        tables: the cells' columns.
        patterns: settings of cells to drop.
        whole: whether these are all cells, of which each exclusion must match one at least.
    """
    out = [np.zeros(len(table["seed"].which), dtype=bool) for table in tables]
    flat = [_flat(table) for table in tables] if patterns else []
    known = {name for each in flat for name in _names(each)}
    for i, pattern in enumerate(patterns):
        with inside("exclude"), inside(str(i)):
            wanted = dict(_wanted(pattern, ""))
            for name in wanted if whole else ():
                if name not in known:
                    raise unknown("setting", name, known, " to exclude by", keys_among(name, known))
            hits = [_matches(*each, wanted) for each in zip(tables, flat, strict=True)]
            if whole and not any(hit.any() for hit in hits):
                raise InvalidInput(f"The exclusion {dict(pattern)} matches no cell.")
            out = [one | hit for one, hit in zip(out, hits, strict=True)]
    return out


def _flat(table: Columns) -> Flat:
    # theta as the file writes it; the digest holds its contents
    columns = {key: table["file" if key == "theta" else key] for key in DETERMINED_BY}
    return {
        key: [dict(flatten({key: value})) for value in column.values]
        for key, column in columns.items()
    }


def _names(flat: Flat) -> Iterator[str]:
    return itertools.chain.from_iterable(itertools.chain(*flat.values()))


def _matches(table: Columns, flat: Flat, wanted: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which cells have one of the wanted values of every setting."""
    hit = np.ones(len(table["seed"].which), dtype=bool)
    for name, values in wanted.items():
        key = name.partition(".")[0]
        allowed = values if isinstance(values, list) else [values]
        fits = [each.get(name) in allowed for each in flat.get(key, ())]
        which = table["file" if key == "theta" else key].which if fits else np.zeros(1, int)
        hit &= np.array(fits or [False])[which]
    return hit


def _wanted(pattern: Pattern, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield settings under the dotted names of `flatten`; a list means any of its values."""
    for key, value in pattern.items():
        path = prefix if key == "name" and prefix else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            yield from _wanted(value, path)
        else:
            yield path, value
