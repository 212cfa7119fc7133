"""Is every impossible study refused at once, with its line and the repair?"""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest
from shell import metabench

from metabench.grid.study import study
from metabench.settings.errors import InvalidInput

GOOD = """{top}
[probe]
name = "verify"
[algo]
name = "maml"
{algo}
[family]
name = "quadratic"
{end}
"""
TOP, ALGO, END = 1, 6, 9  # lines
RATE = "inner_optimizer.rate = "

# what is added where; the line that is named, and words of the sentence
BAD = {
    "an exclusion in single brackets": ({"end": "[exclude]\nseed = 1"}, END, "write [[exclude]]"),
    "a number for exclusions": ({"top": "exclude = 3"}, TOP, "write [[exclude]]"),
    "an exclusion without settings": ({"end": "[[exclude]]"}, END, "matches all cells"),
    "an exclusion of a date": ({"end": "[[exclude]]\nseed = 1979-05-27"}, END + 1, "the date"),
    "a number for zip": ({"top": "zip = 3"}, TOP, "groups of settings"),
    "a flat zip": ({"top": 'zip = ["seed", "dtype"]'}, TOP, "groups of settings"),
    "numbers in zip": ({"top": "zip = [[3]]"}, TOP, "groups of settings"),
    "zipped with itself": ({"top": 'seed=[1, 2]\nzip = [["seed", "seed"]]'}, TOP + 1, "twice"),
    "zipped in two groups": (
        {
            "top": 'seed=[1, 2]\nzip = [["seed", "algo.steps"], ["dtype", "seed"]]\n'
            'dtype = ["float32", "float64"]',
            "algo": "steps = [1, 2]",
        },
        TOP + 1,
        "seed is zipped twice",
    ),
    "an endless range": ({"top": 'seed = "range(inf)"'}, TOP, "can't be read. Write"),
    "a range without a number": ({"top": 'seed = "range(nan)"'}, TOP, "can't be read. Write"),
    "a long range": ({"top": 'seed = "range(1e9)"'}, TOP, "1,000,000,000 values"),
    "an endless logarithm": ({"algo": RATE + '"log(1, 2, 1e400)"'}, ALGO, "can't be read. Write"),
    "a long logarithm": ({"algo": RATE + '"log(1, 2, 1e9)"'}, ALGO, "1,000,000,000 values"),
    "ends too far apart": ({"algo": RATE + '"linear(-1e308, 1e308, 3)"'}, ALGO, "can't be read"),
    "a long table of variants": (
        {"algo": 'inner_optimizer = [{name = "adam", rate = "linear(0, 1, 100000)", '
                 'eps = "linear(0, 1, 100000)"}]'}, ALGO, "10,000,000,000 values"),
    "a list of long ranges": (
        {"top": 'seed = ["range(600000)", "range(600000)"]'}, TOP, "more than 1,000,000 values"),
    "more cells than can be made": (
        {"top": 'seed = "range(10000)"', "algo": 'steps = "range(10000)"'}, None, "Shorten"),
    "a date as a rate": ({"algo": RATE + "1979-05-27"}, ALGO, "no setting takes one"),
    "a time as a seed": ({"top": "seed = 07:32:00"}, TOP, "no setting takes one"),
    "a date as an optimizer": ({"algo": "inner_optimizer = 1979-05-27"}, ALGO, "the date"),
    "3,000 brackets": ({"top": f"seed = {'[' * 3000}{']' * 3000}"}, TOP, "nested too deep"),
    "100 brackets": ({"top": f"seed = {'[' * 100}1{']' * 100}"}, TOP, "nested more than 20 deep"),
    "1,500 dots": ({"top": f"seed{'.a' * 1500} = 1"}, TOP, "nested"),
    "a negative timeout": ({"top": "timeout = -5"}, TOP, "leave it out for no limit"),
    "no time": ({"top": "timeout = 0"}, TOP, "leave it out for no limit"),
    "an absurd timeout": ({"top": "timeout = 1e300"}, TOP, "at most 1e+09"),
    "too many parts": ({"top": "split = 1000000000"}, TOP, "1 to 10,000"),
    "no values": ({"algo": "inner_optimizer = []"}, ALGO, "The list is empty"),
    "no names": ({"algo": "inner_optimizer.name = []"}, ALGO, "The list is empty"),
    "a number as a name": ({"algo": "inner_optimizer.name = 3"}, ALGO, "a word in quotes"),
    "a number of 400 digits": ({"algo": RATE + "9" * 400}, ALGO, "64 bits"),
    "a number of 5,000 digits": ({"algo": RATE + "9" * 5000}, ALGO, "too many digits"),
    "NUL in a path": ({"top": 'theta = "a\\u0000b"'}, TOP, "NUL"),
    "a path of 5,000 letters": ({"top": f'theta = "{"a" * 5000}"'}, TOP, "at most 4,096"),
    "a key with a line break": ({"top": '"a\\nb" = 1'}, TOP, "There is no key"),
    "a wrong value in a long list": (
        {"algo": "steps = [\n" + "1,\n" * 3000 + '"x"]'}, ALGO, "must be a whole number"),
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def write(top="", algo="", end=""):
        path = tmp_path / "study.toml"
        path.write_text(GOOD.format(top=top, algo=algo, end=end))
        return path

    return write


@pytest.mark.parametrize("kind", BAD)
def test_it_is_refused_at_once_with_line_and_repair(write, kind):
    added, line, words = BAD[kind]
    path = write(**added)

    begun = time.process_time()
    with pytest.raises(InvalidInput) as error:
        study.read(path)

    assert words in str(error.value)
    assert line is None or f"line {line}" in str(error.value)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("content", [
    b"\xff\xfe", b"\x00", bytes(range(256)), b"#" * (2**20 + 1), b"a = ", b"= 1"])  # fmt: skip
def test_a_file_that_is_no_study_is_refused_by_name(tmp_path, content):
    path = tmp_path / "study.toml"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=r"study\.toml"):
        study.read(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_study_may_come_from_any_editor(tmp_path, encoding, ending):
    path = tmp_path / "study.toml"
    path.write_bytes(GOOD.format(top="", algo="", end="").replace("\n", ending).encode(encoding))

    assert len(study.read(path).cells) == 1


def test_the_outline_counts_and_finds_the_cells_that_are_made(write):
    path = write(
        top='seed = "range(3)"\nzip = [["seed", "algo.steps"]]\ndtype = ["float32", "float64"]',
        algo='steps = [1, 2, 4]\ninner_optimizer = ["sgd", {name = "adam", rate = [0.1, 0.2]}]',
    )

    outline = study.outlined(path).outline

    made = list(itertools.chain.from_iterable(c.points() for c in outline.combinations))
    assert outline.size == len(made) == len(study.read(path).cells) == 3 * 2 * 3
    assert [outline.point(i)[1] for i in range(outline.size)] == made
    assert outline.lengths == {"seed": [3], "dtype": [2], "algo.steps": [3],
                               "algo.inner_optimizer": [3]}  # fmt: skip


def test_a_million_cells_are_planned_without_making_one(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = write(top='seed = "range(1000)"', algo='steps = "range(1000)"')

    begun = time.process_time()
    text = metabench("plan", path)
    held = metabench("plan", path, "--json")

    assert "cells  1,000,000; 0 done" in text.stdout
    assert "axis   algo.steps: 1,000 values" in text.stdout
    assert f"next   metabench grid {path} --yes" in text.stdout
    assert json.loads(held.stdout)["axes"] == {"seed": [1000], "algo.steps": [1000]}
    assert time.process_time() - begun < 5
    assert not Path("metabench-runs").exists()


def test_a_grid_of_a_million_cells_is_measured_only_if_the_user_says_so(write):
    refused = metabench("grid", write(top='seed = "range(1000)"', algo='steps = "range(1000)"'))

    assert refused.exit_code == 2
    assert "1,000,000 cells. Add --yes" in " ".join(refused.output.split())


def test_a_few_cells_of_a_million_are_measured_for_the_forecast(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = write(
        top='seed = "range(1000)"\ncompute = {engine = "eager"}',
        algo="inner_optimizer.rate = \"linear(0.1, 0.2, 1000)\"\nsteps = 1",
        end="dim = 2",
    )  # fmt: skip

    result = metabench("plan", path, "--measure", "2")

    assert "2 done" in result.stdout
    assert "s per cell, from 2 measured cells" in result.stdout
