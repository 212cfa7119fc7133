"""Types of a record's values, which a right checksum says nothing of: readers rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NUMBER = (int, float)
TYPES: dict[str, tuple[type, ...]] = {
    "digest": (str,),
    "outcome": (str,),
    "spec": (dict,),
    "settings": (dict,),
    "settled": (dict,),
    "rows": (list,),
    "findings": (list, type(None)),
    "provenance": (dict,),
    "attempts": (list,),
    "seconds": NUMBER,
    "peak_bytes": NUMBER,
    "error": (str,),
    "traceback": (str,),
}
TEXTS, NUMBERS = ("quantity", "of", "layer", "status"), ("at", "value", "low", "high")


def require_types(whole: Mapping[str, Any]) -> None:
    """Check the types of a record's values.

    Raises:
        TypeError: naming the value and what it is.
        OverflowError: if a number is beyond all floats.
    """
    for key, types in TYPES.items():
        if key in whole:
            _require(key, whole[key], types)
    for i, row in enumerate(whole["rows"]):
        _require(f"row {i}", row, (dict,))
        for key in TEXTS:
            _require(f"{key} of row {i}", row[key], (str,))
        for key in NUMBERS:
            _require(f"{key} of row {i}", row[key], (*NUMBER, type(None)))
            float(row[key] or 0)  # an integer of JSON may be beyond all floats
    for part in ("probe", "algo", "family"):
        if part in whole["spec"]:
            _require(f"spec.{part}", whole["spec"][part], (dict,))


def _require(name: str, value: Any, types: tuple[type, ...]) -> None:
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise TypeError(f"its {name} is {str(value)[:40]!r}")
