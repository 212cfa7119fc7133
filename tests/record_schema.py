"""The JSON Schema of records, as other programs read it; stricter, it knows no further keys."""

from __future__ import annotations

import copy
import functools
import json
from importlib.resources import files
from typing import Any

import jsonschema

SCHEMA = json.loads((files("metabench.records") / "record.schema.json").read_text("utf-8"))


def require_valid(record: dict[str, Any]) -> None:
    """Refuse a record that breaks the schema, or has a key that the schema doesn't describe."""
    error = jsonschema.exceptions.best_match(_strict().iter_errors(record))
    assert error is None, f"{error.json_path}: {error.message}"
    for finding in record["findings"] or ():
        judged = finding["state"] in ("fault", "undecided", "not_looked_at")
        assert judged or finding["level"] == "info", f"{finding['name']} warns of nothing judged"


@functools.cache
def _strict() -> jsonschema.Draft202012Validator:
    made = copy.deepcopy(SCHEMA)
    for part in (made, *made["$defs"].values()):
        if "properties" in part:
            part["additionalProperties"] = False
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)
