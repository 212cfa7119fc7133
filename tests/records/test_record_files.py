"""Is what was written of a run read back, and everything else refused?"""

from __future__ import annotations

import json

import pytest

from metabench.records import record_files
from metabench.records.rows import Finding, Row
from metabench.settings.errors import Misuse

ROWS = (Row("slope", value=-1.0, low=-1.1, high=-0.9), Row("snr", at=4.0, of="x", status="zero"))
FINDING = Finding("slope", "info", "It falls.", "Nothing.", ROWS[:1])
SPEC = {"algo": {"name": "maml", "steps": 5}, "seed": 0}


def test_spec_rows_and_provenance_are_read_back(tmp_path):
    path = tmp_path / "record.json"
    record_files.write(path, record_files.record(SPEC, ROWS, [FINDING], {"command": "x"}) + "\n")

    found = record_files.read(path)

    assert (found.spec, found.rows, found.provenance) == (SPEC, ROWS, {"command": "x"})
    assert [Row(**line) for line in found.whole["findings"][0]["evidence"]] == list(ROWS[:1])


def test_a_row_of_another_version_is_read_as_far_as_it_is_known(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"spec": {}, "rows": [{"quantity": "slope", "colour": "red"}]}))

    found = record_files.read(path)

    assert found.rows == (Row("slope"),)
    assert found.provenance == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "3", '{"spec": {}}', '{"rows": []}', '{"spec": {}, "rows": [3]}',
     '{"spec": {}, "rows": [{"at": 1}]}', '{"spec": {}, "rows": []'],
)  # fmt: skip
def test_what_is_no_record_is_refused_by_name(tmp_path, text):
    path = tmp_path / "some.json"
    path.write_text(text)

    with pytest.raises(Misuse, match=r"some\.json is no record"):
        record_files.read(path)


def test_a_missing_record_is_not_misread(tmp_path):
    with pytest.raises(FileNotFoundError):
        record_files.read(tmp_path / "none.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_that_no_other_program_could_read_is_not_written(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        record_files.strict_json({"value": value})
