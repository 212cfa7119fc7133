"""Cells that a study's `exclude` entries drop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metabench.records.rows import flatten
from metabench.settings.errors import InvalidInput, inside, unknown
from metabench.settings.synonyms import keys_among


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
    specs: Mapping[str, Mapping[str, Any]],
    patterns: Sequence[Mapping[str, Any]],
    whole: bool = True,
) -> set[str]:
    """Return the digests of the cells that match an exclusion.

    Args:
        specs: of the cells, by digest.
        patterns: settings of cells to drop.
        whole: whether these are all cells, of which each exclusion must match one at least.
    """
    flat = {digest: dict(flatten(spec)) for digest, spec in specs.items()}
    known = {column for columns in flat.values() for column in columns}
    found: set[str] = set()
    for i, pattern in enumerate(patterns):
        with inside("exclude"), inside(str(i)):
            hit = {d for d, columns in flat.items() if _matches(columns, pattern, known, whole)}
            if whole and not hit:
                raise InvalidInput(f"The exclusion {dict(pattern)} matches no cell.")
            found |= hit
    return found


def _matches(
    columns: Mapping[str, Any], pattern: Mapping[str, Any], known: set[str], whole: bool
) -> bool:
    for name, wanted in _wanted(pattern, ""):
        if whole and name not in known:
            raise unknown("setting", name, known, " to exclude by", keys_among(name, known))
        if columns.get(name) not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _wanted(pattern: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield settings under the dotted names of `flatten`; a list means any of its values."""
    for key, value in pattern.items():
        path = prefix if key == "name" and prefix else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping):
            yield from _wanted(value, path)
        else:
            yield path, value
