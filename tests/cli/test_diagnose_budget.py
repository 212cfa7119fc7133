"""Does `diagnose --budget` keep to its time, and say first what it did not look at?"""

from __future__ import annotations

import re
import time
from pathlib import Path

import pandas as pd
import pytest
from shell import measured, metabench

SMALL = ("diagnose", "--family", "quadratic", "--quiet", "--try", "0")


@pytest.fixture
def slow(monkeypatch):
    """A `spectrum` whose first step never comes back, and a `verify` that calls all fine."""

    def measure(probe, subject, seed, progress=None):
        time.sleep(600)

    monkeypatch.setattr("metabench.probes.spectrum.Spectrum.measure", measure)


def test_a_probe_that_ran_out_of_time_is_named_first_and_never_called_fine(slow):
    begun = time.monotonic()
    result = metabench(*SMALL, "--probe", "verify,spectrum", "--budget", "20s")

    assert result.exit_code == 0
    assert time.monotonic() - begun < 20
    _, said, *rest = result.stdout.splitlines()
    first = "1 of 2 probes measured; 1 ran out of time: spectrum."
    assert said.startswith(f"verdict  {first}")
    assert "No problem" not in result.stdout
    assert re.search(
        r"No fault found by the probes that were measured. Findings: .*fine", result.stdout
    )
    more = "--budget 40s --try 0 --probe verify,spectrum --quiet"
    assert f"next   metabench diagnose --algo maml --family quadratic {more}" in rest
    page = next(Path("metabench-runs").glob("diagnose-*/page.html")).read_text(encoding="utf-8")
    assert first in page


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_where_no_probe_finished_a_sentence_says_so(slow, json):
    result = metabench(*SMALL, *json, "--probe", "spectrum", "--budget", "2s", "--csv", "t.csv")

    assert result.exit_code == 0
    assert "0 of 1 probes measured; 1 ran out of time: spectrum." in result.stdout
    if not json:
        assert "Nothing was measured; use a larger --budget." in result.stdout
        assert "No fault" not in result.stdout
    assert len(pd.read_csv("t.csv")) == 0


def test_what_was_not_measured_fails_where_asked_for(slow):
    asked = (*SMALL, "--probe", "spectrum", "--budget", "2s", "--fail-on")

    assert metabench(*asked, "not_looked_at").exit_code == 1
    assert metabench(*asked, "undecided").exit_code == 0


def test_start_up_counts_towards_the_budget(slow, monkeypatch):
    """Probes have 4 of 10 seconds, of which 3 are gone when the first measurement begins."""
    from metabench.cli.diagnose import run

    real = run.plan_of

    def late(**choices):
        time.sleep(3)
        return real(**choices)

    monkeypatch.setattr(run, "plan_of", late)

    (note, *_) = measured(*SMALL, "--probe", "spectrum", "--budget", "10s")["notes"]

    (seconds,) = re.findall(r"spectrum was stopped after (\S+) s", note)
    assert float(seconds) <= 1
