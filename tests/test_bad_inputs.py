"""Does bad input to every command end in a sentence, with a documented exit code?"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from reports.bad_inputs import good_files
from reports.bad_inputs.case import Case, Workplace, run
from reports.bad_inputs.run import every_case

CHEAP = 150  # of the cases, those that every run of the tests has
CASES = every_case()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    good = tmp_path_factory.mktemp("good")
    good_files.make(good)
    return Workplace(good, tmp_path_factory.mktemp("bad") / "bad inputs")


def wrong(cases, workplace):
    ended = [run(case, workplace) for case in cases]
    return [f"{each.case.name}: {each.problem} {each.text}" for each in ended if each.problem]


def test_there_are_cases_of_every_command_and_kind():
    groups = {case.group for case in CASES}

    assert len(CASES) > 800
    assert groups == {"misuse", "option", "argument", "assignment", "setting", "study", "user file",
                      "data file", "store"}  # fmt: skip


def test_a_sample_of_the_cases_ends_as_it_must(workplace):
    chosen = random.Random(0).sample(CASES, CHEAP)

    assert wrong(chosen, workplace) == []


@pytest.mark.long
def test_every_case_ends_as_it_must(workplace):
    assert wrong(CASES, workplace) == []


def test_a_command_that_ends_wrongly_is_seen(workplace, monkeypatch):
    """The command calls a function with arguments that it doesn't take."""
    monkeypatch.setattr("metabench.cli.grid.status.status", json.loads)
    raised = run(Case("x", "raises", ("status", "study.toml")), workplace)
    accepted = run(Case("x", "is accepted", ("plan", "study.toml")), workplace)

    assert "raised TypeError" in raised.problem
    assert accepted.problem == "was accepted: ended with 0"
