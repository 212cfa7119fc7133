"""Does a checkup name what was planted, first and confirmed, and nothing where all is well?"""

from __future__ import annotations

import math
import signal
import sys
import time

import ills
import pytest

import metabench as mb
from metabench.diagnosis.causes import CAUSES, ConfirmedFinding, faults, remarks
from metabench.diagnosis.checkup import Checkup, checkup
from metabench.measurement.clock import Clock
from metabench.records.rows import LEVELS, Finding
from metabench.settings import registry
from metabench.settings.alarms import TimeUp
from metabench.stats.proportions import share_interval


def finding(name, level="warning"):
    return Finding(name, level, "", f"{name}.", "Change it.", ())


def asked(case, seed=0, **options):
    probes = ("verify", "variance", "spectrum", "explosion")  # the study asks more of them
    options = {"chosen": ills.SMALL, "only": probes, "highest": 0, **options}
    return checkup(case.cell(seed), case.outer, Clock(600), **options)


# Half of the time goes into the many-shot limit, which only `shots` is named by.
WITHOUT_LIMIT = {**ills.SMALL, "variance": {**ills.SMALL["variance"], "shot_multiples": 0}}


@pytest.mark.parametrize("plant", ills.PLANTS)
def test_what_was_planted_is_named_first(plant):
    found = asked(ills.planted([plant]), chosen=ills.SMALL if plant == "shots" else WITHOUT_LIMIT)

    first = found.faults[0]
    assert first.cause == plant
    assert first.findings[0].confirmed


@pytest.mark.parametrize("plants", ills.PAIRS)
def test_two_that_were_planted_are_both_named(plants):
    found = asked(ills.planted(plants), chosen=ills.SMALL if "shots" in plants else WITHOUT_LIMIT)

    assert set(plants) <= {fault.cause for fault in found.faults[: len(plants)]}


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_named_where_nothing_is_planted(seed):
    found = asked(ills.healthy(seed), seed)

    assert found.faults == []
    assert any("the chance of any false alarm" in note for note in found.notes)


@pytest.mark.long
def test_false_alarms_over_two_hundred_healthy_draws_stay_below_one_in_twenty():
    """By the exact limit of their share; `reports/diagnosis` asks more probes of the same draws."""
    seeds = range(100, 300)

    alarms = {seed: asked(ills.healthy(seed), seed).faults for seed in seeds}

    wrong = [seed for seed, faults in alarms.items() if faults]
    assert share_interval(len(wrong), len(seeds)).high < 0.05, wrong


def test_every_listed_probe_says_what_its_warnings_would_mean():
    for name in registry.members("probes"):
        cls = registry.load("probes", name)
        assert set(cls.causes.values()) <= set(CAUSES), name
        for fidelity in cls.fidelities:
            cls(**fidelity)


def test_symptoms_speak_for_what_explains_them():
    """Growth is critical and the rate a warning: the rate is named, as critical."""
    findings = [
        ConfirmedFinding("variance", finding("diverged", "critical"), "growth"),
        ConfirmedFinding("variance", finding("heavy_tail", "critical"), "tails"),
        ConfirmedFinding("variance", finding("noise_scale"), "batch"),
        ConfirmedFinding("spectrum", finding("inner_rate_unstable"), "rate"),
        ConfirmedFinding("spectrum", finding("shape", "info"), "other"),
        ConfirmedFinding("spectrum", finding("not_converged"), "settings"),
    ]

    first, second = faults(findings)

    assert (first.cause, first.level) == ("rate", "critical")
    assert [each.finding.name for each in first.findings] == [
        "inner_rate_unstable",
        "heavy_tail",
        "diverged",
    ]
    assert second.cause == "batch"
    assert [each.finding.name for each in remarks(findings)] == ["shape", "not_converged"]
    assert list(LEVELS) == ["critical", "warning", "info"]


def test_a_warning_that_fresh_tasks_do_not_repeat_is_a_remark(monkeypatch):
    """A probe that cries wolf on one seed only."""
    case = ills.healthy(1)

    def wolf(probe, table):
        return [finding("inner_rate_unstable")] if table["value"].max() < 1 else []

    def measured(probe, subject, seed, progress):
        return [mb.Row("seed", value=float(seed))]

    monkeypatch.setattr("metabench.probes.spectrum.Spectrum.measure", measured)
    monkeypatch.setattr("metabench.probes.spectrum.Spectrum.find", wolf)

    found = asked(case, only=("spectrum",), chosen={})

    (warning,) = found.findings
    assert (warning.confirmed, warning.finding.level) == (False, "info")
    assert "Not confirmed on fresh tasks" in warning.finding.claim
    assert found.faults == []


def spin(tick):
    while True:
        tick(1, 2)


def careless():
    try:
        time.sleep(20)
    except Exception:
        time.sleep(20)


class Deaf:
    def __del__(self):
        time.sleep(20)


def deaf_once():
    Deaf()
    time.sleep(20)


def test_a_measurement_whose_time_is_up_is_stopped():
    with Clock(60).within(math.inf) as tick:
        tick(1, 2)
    tick_after = Clock(60).within(0.01)
    with pytest.raises(TimeUp), tick_after as tick:
        spin(tick)


def test_a_step_that_never_comes_back_is_stopped_between_two_calls_of_progress():
    begun = time.monotonic()

    with pytest.raises(TimeUp), Clock(60).within(0.2):
        time.sleep(20)

    assert time.monotonic() - begun < 5
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_an_alarm_at_the_moment_of_a_tick_leaves_no_alarm_behind():
    """Were one left, no later measurement could be stopped."""
    for _ in range(200):
        with pytest.raises(TimeUp), Clock(60).within(1e-3) as tick:
            spin(tick)

    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_no_users_except_swallows_the_end_of_the_time():
    with pytest.raises(TimeUp), Clock(60).within(0.2):
        careless()


def test_an_end_that_was_swallowed_once_is_raised_again(monkeypatch):
    """Python drops an exception that an alarm raises within a destructor (silently here)."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    begun = time.monotonic()

    with pytest.raises(TimeUp), Clock(60).within(0.1):
        deaf_once()

    assert time.monotonic() - begun < 5
    assert said == []
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Parted:
    """Stands for a part: what the head of a checkup reads of one."""

    def __init__(self, name, rows, stopped=False):
        self.name, self.rows, self.stopped = name, rows, stopped


def test_the_head_counts_what_was_measured_and_what_was_not():
    parts = (
        Parted("verify", (1,)),
        Parted("cost", (), stopped=True),
        Parted("spectrum", ()),
        Parted("variance", (1,)),
        Parted("explosion", (), stopped=True),
    )

    assert Checkup(parts, (), None, {}, ()).coverage == (
        "2 of 5 probes measured; 2 ran out of time: cost, explosion; 1 could not measure: spectrum."
    )
    assert Checkup(parts[:1], (), None, {}, ()).coverage == "1 of 1 probes measured."
