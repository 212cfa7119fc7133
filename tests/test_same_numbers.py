"""Would the proof that no number changed notice one that did?"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from reports.same_numbers import lines, renames, run
from reports.same_numbers.differences import compared, differences, left_out

SAME = renames.Renames()
ROWS = [
    {"quantity": "variance", "at": 1.0, "value": 0.1, "low": math.nan, "high": None},
    {"quantity": "variance", "at": 2.0, "value": 0.0, "low": -0.5, "high": 0.5},
]


def found(folder, rows=ROWS, names=SAME, command="variance", columns=SAME):
    """Read what a command would have written."""
    rest = {"of": "task", "layer": "0.weight", "status": "ok"}
    place = folder / "metabench-runs" / f"{command}-0123456789ab"
    place.mkdir(parents=True, exist_ok=True)
    finding = {"name": "noise_scale", "level": "info", "claim": "Noise equals signal."}
    record = {"rows": [{**rest, **row} for row in rows], "findings": [finding]}
    (place / "record.json").write_text(json.dumps(record))
    return lines.read(folder, names, columns)


def changed(index, **fields):
    return [{**row, **(fields if i == index else {})} for i, row in enumerate(ROWS)]


def test_the_same_rows_are_equal_nan_and_all(tmp_path):
    assert not differences(found(tmp_path / "old"), found(tmp_path / "new"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (changed(0, value=float(np.nextafter(0.1, 1))), "value 0x1.999999999999ap-4 -> 0x1.9999"),
        (changed(1, value=-0.0), "value 0x0.0p+0 -> -0x0.0p+0"),
        (changed(0, high=0.2), "high none -> "),
        (changed(1, status="diverged"), "status=ok"),
        (ROWS[:1], "at=0x1.0000000000000p+1 of='task' layer='0.weight' status=ok"),
        ([*ROWS, ROWS[1]], "number 1): only in the new"),
        (ROWS[::-1], "another order"),
    ],
)
def test_what_differs_is_told(rows, said, tmp_path):
    sentences = differences(found(tmp_path / "old"), found(tmp_path / "new", rows))

    assert any(said in each for each in sentences), sentences


def test_a_last_bit_of_theta_is_seen(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    found(old), found(new)
    theta = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    save_file({"0.weight": theta}, old / lines.THETA)
    theta[1, 1] = np.nextafter(theta[1, 1], np.float32(2))
    save_file({"0.weight": theta}, new / lines.THETA)

    (sentences,) = differences(lines.read(old, SAME, SAME), lines.read(new, SAME, SAME))

    assert sentences.startswith("theta at=4 of='' layer='0.weight'")


def test_what_a_clock_measured_is_left_out_under_its_new_name_too(tmp_path):
    names = renames.Renames({"quantities": {"seconds": "wall_seconds"}})
    rows = [*ROWS, {"quantity": "wall_seconds"}, {"quantity": "variance: wall_seconds"}]

    kept = compared(found(tmp_path, rows), left_out(names))

    assert [line.quantity for line in kept] == ["variance", "variance", "finding"]


def test_renames_bring_the_old_rows_to_the_new(tmp_path):
    names = renames.Renames(
        {
            "quantities": {"variance": "spread"},
            "of": {"task": "tasks"},
            "layers": {"0.weight": "first.weight"},
            "statuses": {"ok": "fine"},
            "columns": {"value": "estimate"},
            "files": {"variance-*": "noise-*"},
        }
    )
    new_row = {"quantity": "spread", "of": "tasks", "layer": "first.weight", "status": "fine"}
    rows = [{"estimate": r["value"], **r, **new_row, "value": 7.0} for r in ROWS]

    old = found(tmp_path / "old", names=names)
    new = found(tmp_path / "new", rows, command="noise", columns=names)

    assert not differences(old, new)


def test_a_command_line_a_study_and_a_file_are_translated():
    names = renames.Renames(
        {
            "commands": {"variance": "measure noise"},
            "options": {"--algo": "--method"},
            "keys": {"algo": "method", "probe.redrawn": "probe.redraws"},
            "values": {"adam": "adam_root"},
            "api": {"Indexed": "ByIndex"},
        }
    )
    given = "variance --algo maml --set algo.step=adam --set probe.redrawn=16"

    words = names.words(given.split())

    wanted = "measure noise --method maml --set method.step=adam_root --set probe.redraws=16"
    assert words == wanted.split()
    assert names.study('algo.step = ["adam", "sgd"]') == 'method.step = ["adam_root", "sgd"]'
    assert names.python("mb.Indexed(IndexedOnce)") == "mb.ByIndex(IndexedOnce)"


def test_an_unknown_section_is_refused(tmp_path):
    (tmp_path / "renames.toml").write_text('[quantity]\nvariance = "spread"\n')

    with pytest.raises(SystemExit, match="there are commands, "):
        renames.read(tmp_path / "renames.toml")


def test_there_are_forty_commands_and_those_that_others_need_come_along():
    assert len(run.listed()) == 40
    assert list(run.listed("variance-maml-trained")) == ["train-maml", "variance-maml-trained"]
