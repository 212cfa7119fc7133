"""Is the first screen of every probe short, and does it begin with what was measured?"""

from __future__ import annotations

import re

import pytest
from default_jobs import PROBES, default_job

from metabench.cli.probe import print_result
from metabench.records.rows import Finding, Row
from metabench.report.brief import brief, by_severity

FOOT = 3  # lines that the command prints below: page, table, next
HEAD = re.compile(r"(\w+) of maml on sinusoid: K = 1, alpha = 0\.01, (B = 25, )?10 shots, "
                  r"\d+ tasks, initial theta, seed 0")  # fmt: skip
CLOCK = Row("seconds", value=0.1)


def screen(name, capsys, verbose=False):
    print_result.print_result(default_job(name), verbose)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", PROBES)
def test_the_first_screen_is_thirty_lines_in_order(name, capsys):
    lines = screen(name, capsys)

    assert len(lines) + FOOT <= 30
    assert HEAD.fullmatch(lines[0])[1] == name
    assert lines[1].startswith("verdict  ")
    assert lines[1].endswith(".")
    numbers = [i for i, line in enumerate(lines) if line.startswith("quantity ")]
    findings = [i for i, line in enumerate(lines) if re.match(r"INFO|WARNING|CRITICAL", line)]
    assert len(numbers) == 1
    assert findings[0] == 3
    assert findings[-1] < numbers[0]


@pytest.mark.parametrize("name", PROBES)
def test_no_headline_rests_on_seconds(name, capsys):
    shown = "\n".join(screen(name, capsys))

    assert not re.search(r"\b(seconds|second(?! moment)|equal compute time)\b", shown)


@pytest.mark.parametrize("name", ["variance", "cost"])
def test_everything_is_there_when_asked_for(name, capsys):
    shown = "\n".join(screen(name, capsys, verbose=True))

    for finding in default_job(name).findings:
        assert finding.claim in shown
        assert finding.repair in shown
    assert "break-even seconds" in shown
    assert "\nTerms\n" in shown


def finding(level, state, claim, repair="", evidence=()):
    return Finding("name", level, state, claim, repair, evidence)


def test_the_most_severe_comes_first_and_is_told_in_full():
    fine = finding("info", "fine", "One. Two. Three.", "Keep it.")
    undecided = finding("info", "undecided", "Four. Five.", "More tasks.")
    wrong = finding("warning", "fault", "Six. Seven.", "Change it.")

    tight = brief([fine, undecided, wrong], room=4, width=100)
    wide = brief([fine, undecided, wrong], room=9, width=100)

    assert by_severity([fine, undecided, wrong]) == [wrong, undecided, fine]
    assert [(each.claim, each.repair) for each in tight] == [
        ("Six. Seven.", "Change it."),
        ("Four. Five.", ""),
        ("One. Two. Three.", ""),
    ]
    assert [(each.claim, each.repair) for each in wide] == [
        (each.claim, each.repair) for each in (wrong, undecided, fine)
    ]


def test_findings_without_room_are_left_out_from_the_end_but_no_problem_is():
    many = [finding("info", "", f"Remark {i}.") for i in range(9)]
    wrong = [finding("warning", "fault", f"Problem {i}.", "Mend it.") for i in range(9)]

    shown = brief([*many, *wrong], room=20, width=100)

    assert [each.claim for each in shown] == [
        *(f"Problem {i}." for i in range(9)),
        "Remark 0.",
        "Remark 1.",
    ]


def test_sentences_on_a_clock_are_left_out_and_others_stay():
    mixed = finding("info", "fine", "Right for 5 tasks. In equal time, too.", "", (CLOCK,))
    only = finding("info", "", "In one second it takes 5 tasks.", "", (CLOCK,))
    plain = finding("info", "", "In one second nothing happens.")

    shown = brief([mixed, only, plain], room=20, width=100)

    assert [each.claim for each in shown] == ["Right for 5 tasks.", plain.claim]
