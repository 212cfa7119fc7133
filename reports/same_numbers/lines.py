"""What did a command find? Rows, findings and theta, all as lines, so that one comparison does."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load_file

from reports.same_numbers.renames import Renames

AXES = ("algo.name", "algo.steps", "seed")  # of study.toml, which distinguish its cells
THETA = "theta.safetensors"  # where the listed commands save what they train
NUMBERS = ("value", "low", "high")


class Line(NamedTuple):
    """One row, finding or element of theta; numbers as `float.hex`, which tells all bits."""

    record: str
    quantity: str
    at: str
    of: str
    layer: str
    status: str
    value: str
    low: str
    high: str

    @property
    def key(self) -> tuple[str, ...]:
        """The keys of the row, without its numbers."""
        return self[:6]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Its value and the ends of its interval."""
        return self[6:]


def read(folder: Path, old: Renames, new: Renames) -> list[Line]:
    """Read all that a command wrote into its folder, under new names, in order.

    Args:
        folder: where the command ran.
        old: how names found there become new ones; none of them for the new revision.
        new: how keys of a record were renamed there; none of them for the old revision.

    Raises:
        ValueError: if there are no records, or two have the same keys.
    """
    found = [(_label(path, folder, old), path, record) for path, record in _records(folder, new)]
    alike = Counter(label for label, *_ in found)
    named = {
        label if alike[label] == 1 else f"{label} {_cell(record, old, new)}": record
        for label, _, record in found
    }
    if not found or len(named) < len(found):
        raise ValueError(f"{len(found)} records, but only {len(named)} distinct names.")
    lines = [line for label in sorted(named) for line in _lines(label, named[label], old, new)]
    return [*lines, *_theta(folder / THETA, old)]


def _records(folder: Path, new: Renames) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield every JSON object that has rows: records of runs, of parts, and of a store's cells."""
    for path in sorted(folder.rglob("*.json")):
        record = json.loads(path.read_text())
        if isinstance(record, dict) and new("columns", "rows") in record:
            yield path, record


def _label(path: Path, folder: Path, old: Renames) -> str:
    """Name a record by its path, without digests, which change with names."""
    parts = [re.sub(r"[0-9a-f]{12}|^[0-9a-f]{2}$", "*", part)
             for part in path.relative_to(folder).parts]  # fmt: skip
    return "/".join(old("files", part) for part in parts)


def _cell(record: Mapping[str, Any], old: Renames, new: Renames) -> str:
    """Name a cell by its place on the axes of the study."""
    said = []
    for axis in AXES:
        found: Any = record.get(new("columns", "spec"), {})
        for part in new.key(axis).split("."):
            found = found.get(part, "?") if isinstance(found, dict) else "?"
        said.append(old.value(str(found)))
    return " ".join(said)


def _lines(label: str, record: Mapping[str, Any], old: Renames, new: Renames) -> Iterator[Line]:
    def field(of: Mapping[str, Any], name: str) -> Any:
        return of.get(new("columns", name))

    for row in field(record, "rows"):
        yield Line(
            label,
            old.quantity(field(row, "quantity")),
            _bits(field(row, "at")),
            old.of(field(row, "of")),
            old("layers", field(row, "layer")),
            old("statuses", field(row, "status")),
            *(_bits(field(row, name)) for name in NUMBERS),
        )
    for finding in field(record, "findings") or ():  # a cell of a store has none
        name, level = (field(finding, key) for key in ("name", "level"))
        of = old("findings", name)
        yield Line(label, "finding", "", of, "", old("statuses", level), "", "", "")


def _theta(path: Path, old: Renames) -> Iterator[Line]:
    """Yield every element of a trained theta, in the file's own order of names."""
    for name, tensor in load_file(path).items() if path.is_file() else ():
        shape, layer = f"{tensor.dtype} {tensor.shape}", old("layers", name)
        for i, element in enumerate(tensor.reshape(-1).tolist()):
            yield Line(THETA, "theta", str(i), "", layer, shape, _bits(element), "", "")


def _bits(number: float | None) -> str:
    """Write a number with all its bits, including the sign of zero; NaN is NaN."""
    return "none" if number is None else float(number).hex()
