"""Is what was written of a run read back, and everything else refused?"""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from record_schema import SCHEMA, require_valid

import metabench
from metabench.records import record
from metabench.records.rows import LEVELS, STATES, Finding, Row
from metabench.records.statuses import STATUSES
from metabench.settings.errors import InvalidInput

ROWS = (Row("slope", value=-1.0, low=-1.1, high=-0.9), Row("snr", at=4.0, of="x", status="zero"))
FINDING = Finding("slope", "info", "fine", "It falls.", "Nothing.", ROWS[:1])
SPEC = {"algo": {"name": "maml", "steps": 5}, "seed": 0}
HOME = Path(metabench.__file__).parent


def made(**more):
    return record.compose(SPEC, ROWS, [FINDING], {"command": "x"}, more)


def signed(whole):
    """What a program that follows the documentation, or doesn't, writes."""
    return {**whole, "checksum": record.checksum(whole)}


def written(path, whole):
    path.write_text(record.text(whole) + "\n")
    return path


def test_spec_rows_and_provenance_are_read_back(tmp_path):
    found = record.read(written(tmp_path / "record.json", made(seconds=0.5)))

    assert (found.spec, found.rows, found.provenance) == (SPEC, ROWS, {"command": "x"})
    assert (found.settled, found.outcome, found.whole["seconds"]) == (SPEC, "ok", 0.5)
    assert [Row(**line) for line in found.whole["findings"][0]["evidence"]] == list(ROWS[:1])


def test_what_is_written_keeps_the_schema():
    require_valid(made())
    require_valid(record.compose(SPEC, [], None, {}, {"outcome": "oom", "error": "too big"}))


def test_the_schema_is_not_a_formality():
    for broken in ({"rows": [{"quantity": "slope"}]}, {"outcome": "fine"}, {"color": "red"}):
        with pytest.raises(AssertionError):
            require_valid(made(**broken))


def test_the_schema_has_the_words_of_the_code():
    row, finding = (SCHEMA["$defs"][name]["properties"] for name in ("row", "finding"))

    assert row["status"]["enum"] == list(STATUSES)
    assert list(row) == list(Row._fields)
    assert finding["level"]["enum"] == list(LEVELS)
    assert finding["state"]["enum"] == list(STATES)
    assert set(SCHEMA["required"]) == set(record.REQUIRED)
    assert SCHEMA["properties"]["schema"]["const"] == record.SCHEMA


def test_every_status_is_explained_in_the_documentation():
    text = (HOME.parent / "docs" / "record.md").read_text(encoding="utf-8")

    for status, meaning in STATUSES.items():
        assert f"| `{status}` | {meaning} |" in text


def test_every_status_that_the_package_writes_is_listed():
    """A word after `status=` in a row; what is put together is held to the list when written."""
    found = {
        word.value
        for path in (HOME / "probes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "status"
        for word in ast.walk(node.value)
        if isinstance(word, ast.Constant) and isinstance(word.value, str)
    }

    assert len(found) > 15
    assert found <= STATUSES.keys()


def test_a_status_that_is_none_is_refused_with_the_nearest():
    with pytest.raises(
        InvalidInput, match=r"no status 'divergd' of a row; did you mean 'diverged'"
    ):
        record.compose(SPEC, [Row("slope", status="divergd")], [], {})


def test_keys_of_later_versions_are_ignored(tmp_path):
    rows = [{**row, "color": "red"} for row in made()["rows"]]
    later = signed({**made(), "rows": rows, "color": "red"})

    found = record.read(written(tmp_path / "r.json", later))

    assert found.rows == ROWS


@pytest.mark.parametrize("schema", [None, 1])
def test_records_of_the_first_version_are_to_be_measured_again(tmp_path, schema):
    old = {"spec": {}, "rows": [], "findings": [], "provenance": {}}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old if schema is None else {**old, "schema": schema}))

    with pytest.raises(
        InvalidInput, match=r"old\.json was written by metabench 0\.1; measure again\."
    ):
        record.read(path)


def test_a_newer_record_is_left_alone(tmp_path):
    path = written(tmp_path / "new.json", signed({**made(), "schema": 3}))

    with pytest.raises(
        InvalidInput, match=r"new\.json was written by a newer metabench \(schema 3"
    ):
        record.read(path)


@pytest.mark.parametrize("schema", ["2", 0, -1, None, True, 1.5, [2]])
def test_a_schema_that_is_none_is_refused(tmp_path, schema):
    path = written(tmp_path / "odd.json", signed({**made(), "schema": schema}))

    with pytest.raises(InvalidInput, match=r"odd\.json"):
        record.read(path)


def test_any_changed_digit_is_noticed(tmp_path):
    text = record.text(made())
    for i in [i for i, letter in enumerate(text) if letter.isdigit()]:
        changed = text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :]
        path = tmp_path / "changed.json"
        path.write_text(changed)
        with pytest.raises(InvalidInput, match=r"changed\.json"):
            record.read(path)


@pytest.mark.parametrize("key", record.REQUIRED)
def test_a_missing_key_is_named(tmp_path, key):
    rest = {name: value for name, value in made().items() if name != key}
    rest = rest if key == "checksum" else signed(rest)
    path = written(tmp_path / "some.json", rest)

    with pytest.raises(
        InvalidInput, match=r"some\.json (is not a record|was written by metabench 0\.1)"
    ):
        record.read(path)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b"3", b"null", b'{"spec": {}}', b'{"rows": []}', b'{"spec": {}, "rows": []',
     b"\x00" * 500, b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_record_is_refused_by_name(tmp_path, text):
    path = tmp_path / "some.json"
    path.write_bytes(text)

    with pytest.raises(InvalidInput, match=r"some\.json is not a record"):
        record.read(path)


@pytest.mark.parametrize("rows", [3, [3], [{"at": 1}], {"a": 1}, None])
def test_a_stranger_who_signs_nonsense_is_refused_too(tmp_path, rows):
    path = written(tmp_path / "some.json", signed({**made(), "rows": rows}))

    with pytest.raises(InvalidInput, match=r"some\.json is not a record"):
        record.read(path)


def test_a_missing_record_is_not_misread(tmp_path):
    with pytest.raises(FileNotFoundError):
        record.read(tmp_path / "none.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_that_no_other_program_could_read_is_not_written(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.compose(SPEC, [Row("slope", value=value)], [], {})
