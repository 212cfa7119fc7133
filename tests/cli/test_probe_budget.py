"""Does `--budget` of a probe keep to its time, with what fits, and say what was left out?"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from shell import measured, metabench

SLOW = """
import time
import metabench as mb

family = mb.Quadratic(dim=2)
maml = mb.MAML(steps=1)


def estimate(theta, task):
    time.sleep(SECONDS)
    (value,) = theta.values()
    made = maml(family.problem(), value, task)
    return made.loss, made.grad


mine = mb.BlackBox(estimate)
"""
QUADRATIC = ("--family", "quadratic", "--set", "family.dim=2", "--quiet")


def slow(seconds):
    Path("slow.py").write_text(SLOW.replace("SECONDS", str(seconds)), encoding="utf-8")
    return ("--algo", "slow.py:mine", *QUADRATIC)


def states(record):
    return {each["name"]: each["state"] for each in record["findings"]}


def test_what_fits_is_measured_as_without_a_budget():
    words = ("explosion", "--tasks", "8", "--set", "probe.steps=3", *QUADRATIC)

    bounded, free = measured(*words, "--budget", "10m"), measured(*words)

    assert bounded["settled"] == free["settled"]
    assert "budget" not in states(bounded)


def test_a_slow_black_box_is_measured_with_fewer_tasks_and_the_rest_is_named():
    begun = time.monotonic()
    record = measured("variance", *slow(0.02), "--budget", "12s")

    assert time.monotonic() - begun < 14
    asked, reached = record["spec"]["probe"]["tasks"], record["settled"]["probe"]["tasks"]
    assert reached < asked
    (said,) = [each for each in record["findings"] if each["name"] == "budget"]
    assert f"tasks {reached:,} of {asked:,}" in said["claim"]
    assert said["state"] == "not_looked_at"


@pytest.mark.parametrize("command", ["verify", "variance"])
def test_where_not_one_estimate_ends_nothing_is_called_fine(command):
    words = (command, *slow(600), "--budget", "2s")

    result = metabench(*words, "--fail-on", "not_looked_at")

    assert result.exit_code == 1
    assert f"{command} measured nothing within its budget of 2 s" in result.stdout
    assert "fine" not in result.stdout


def test_verify_makes_fewer_checks_of_a_slow_black_box_and_says_which_it_left_out():
    record = measured("verify", *slow(0.3), "--budget", "9s")

    checks = {row["of"]: row["status"] for row in record["rows"] if row["quantity"] == "check"}
    assert checks["repeated call"] == "ok"
    (said,) = [each for each in record["findings"] if each["name"] == "budget"]
    assert "thorough no of yes" in said["claim"]


def test_a_budget_that_is_no_time_is_refused():
    result = metabench("variance", *QUADRATIC, "--budget", "200tasks")

    assert result.exit_code == 2
    assert "--budget" in result.stderr
