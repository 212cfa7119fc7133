"""What a record is: made in one place, read in one place, and refused if it isn't what was written.

`record.schema.json` beside this file is the same for other programs, docs/record.md for people.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from metabench.records import ordinary_files, statuses
from metabench.records.record_types import require_types
from metabench.records.rows import Finding, Row
from metabench.settings import fields
from metabench.settings.errors import InvalidInput

SCHEMA = 2
# In the order in which they are written; others follow.
REQUIRED = (
    *("schema", "digest", "checksum", "outcome", "spec", "settings"),
    *("rows", "findings", "provenance", "attempts"),
)
WRONG_CONTENT = (ValueError, KeyError, TypeError, AttributeError)
Found = Sequence[Finding | Mapping[str, Any]]


class Record(NamedTuple):
    """A record that was read: what its file holds, with rows as such."""

    digest: str
    outcome: str  # ok, diverged, or how the measurement failed
    spec: dict[str, Any]  # as asked: what the digest is of
    settled: dict[str, Any]  # the same with what `auto` became
    rows: tuple[Row, ...]
    provenance: dict[str, Any]
    whole: dict[str, Any]  # the object that it was read from


def compose(
    spec: Mapping[str, Any],
    rows: Sequence[Row],
    findings: Found | None,
    provenance: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a record of plain JSON values, with its checksum.

    Args:
        spec: what determines the numbers, as it was asked for.
        rows: what was measured.
        findings: what was found in it; None where nobody asked.
        provenance: how it was made.
        more: other keys, and those that are not as a command has them.

    Raises:
        InvalidInput: if a row's status is none.
    """
    statuses.check_statuses(row.status for row in rows)
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "digest": fields.digest(spec),
        "checksum": "",
        "outcome": statuses.outcome_of(row.status for row in rows),
        "spec": spec,
        "settings": {},
        "rows": [row._asdict() for row in rows],
        "findings": None if findings is None else [plain(finding) for finding in findings],
        "provenance": provenance,
        "attempts": [],
        **(more or {}),
    }
    return with_checksum(made)


def with_checksum(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as plain JSON values, with its checksum."""
    whole: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))  # tuples become lists
    return {**whole, "checksum": checksum(whole)}


def plain(finding: Finding | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a finding and its evidence as plain JSON values."""
    if not isinstance(finding, Finding):
        return finding
    return {**finding._asdict(), "evidence": [row._asdict() for row in finding.evidence]}


def checksum(whole: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's canonical JSON: sorted keys, no blanks, ASCII, no checksum.

    >>> checksum({"b": 1, "a": 2.0, "checksum": "x"}) == checksum({"a": 2.0, "b": 1})
    True
    """
    rest = {key: value for key, value in whole.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def parse(content: bytes, name: str) -> Record:
    """Parse a record, and verify its schema and its checksum.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        InvalidInput: if it is something else, of another schema, cut off or changed.
    """
    try:
        whole: dict[str, Any] = json.loads(content)
        _require_schema(whole, name)
        if whole["checksum"] != checksum(whole):
            raise InvalidInput(
                f"{name} doesn't hold what was written: its checksum differs, so it was changed or "
                "damaged; measure again."
            )
        require_types(whole)
        if whole["digest"] != fields.digest(whole["spec"]):
            raise InvalidInput(
                f"{name} doesn't hold what was written: its digest is not that of its spec; "
                "measure again."
            )
        rows = tuple(Row(**{key: line[key] for key in Row._fields}) for line in whole["rows"])
        spec, settled = whole["spec"], whole.get("settled", whole["spec"])
        provenance = dict(whole["provenance"])
    except InvalidInput:
        raise
    except (*WRONG_CONTENT, RecursionError, OverflowError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else f"{error}"
        raise InvalidInput(f"{name} is not a record, or an incomplete one ({reason}).") from error
    return Record(whole["digest"], whole["outcome"], spec, settled, rows, provenance, whole)


def text(whole: Mapping[str, Any]) -> str:
    """Write a record for people and programs: indented, without NaN, which JSON doesn't have."""
    return json.dumps(whole, indent=2, allow_nan=False, ensure_ascii=False)


def read(path: Path) -> Record:
    """Read a record's file.

    Raises:
        OSError: if there is none.
        InvalidInput: if it is something else, of another schema, cut off or changed.
    """
    return parse(ordinary_files.read(path), str(path))


def _require_schema(whole: Mapping[str, Any], name: str) -> None:
    """Refuse records of other schemas, whose keys may mean something else.

    Raises:
        InvalidInput: saying which metabench wrote it.
        KeyError: if it is no record at all.
    """
    found = whole.get("schema", 1 if {"spec", "rows"} <= whole.keys() else None)
    if found == 1:
        raise InvalidInput(f"{name} was written by metabench 0.1; measure again.")
    if isinstance(found, int) and found > SCHEMA:
        raise InvalidInput(
            f"{name} was written by a newer metabench (schema {found}; this one reads {SCHEMA}). "
            "Nothing was changed; update metabench."
        )
    for key in REQUIRED:
        whole[key]  # a KeyError names it
    if found != SCHEMA:
        raise InvalidInput(f"{name} is not a record: its schema is {found!r}.")
