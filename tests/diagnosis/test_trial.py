"""Are trials paired, at equal compute, and their effects what a plain loop computes?"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

import metabench as mb
from metabench.cli.main import main
from metabench.diagnosis.trial import Trial
from metabench.diagnosis.trial.find import HELPS, HURTS, OPEN, verdict
from metabench.diagnosis.trial.measure import SEED_STEP
from metabench.outer_loop.task_stream import FIRST_HELD_OUT_TASK
from metabench.problems.tasks import Address
from metabench.records.rows import Row, from_table, to_table

FAMILY = mb.Quadratic(dim=4, noise=0.2, spread=0.3, offset=1.0)
OUTER = ("optimizer=sgd", "rate=0.05", "batch=4")


def subject(rate=0.1, steps=1):
    algorithm = mb.MAML(steps, mb.SGD(rate))
    return mb.Subject(FAMILY.problem(), FAMILY.sample, algorithm, FAMILY.theta(0))


def tried(*changes, rate=0.1, **settings):
    probe = Trial(changes=changes, **{"steps": 4, "repeats": 6, "outer": OUTER, **settings})
    table = to_table(probe.measure(subject(rate), 0))
    return probe, table


def one(table, quantity, of):
    (found,) = from_table(table, quantity, of=of)
    return found


def by_hand(rate, batch, steps, stream):
    """Held-out loss before and after plain descent on the closed-form one-step meta-gradient."""
    seed = SEED_STEP * (stream + 1)
    theta = FAMILY.theta(0).clone()

    def losses(theta, first, count):
        (a, z), (b, y) = FAMILY.sample(Address.fresh(first, count), seed)[:2]
        phi = theta - rate * (a * (theta - z)).mean(1, keepdim=True)
        return (0.5 * b * (phi - y) ** 2).sum(-1).mean(1)

    before = losses(theta, FIRST_HELD_OUT_TASK, 64)
    for step in range(steps):
        theta.requires_grad_(True)
        (slope,) = torch.autograd.grad(losses(theta, step * batch, batch).mean(), theta)
        theta = (theta - 0.05 * slope).detach()
    return before.detach().numpy(), losses(theta, FIRST_HELD_OUT_TASK, 64).numpy()


def test_effects_and_their_intervals_are_those_of_a_plain_loop():
    _, table = tried("algo.inner_optimizer.rate=0.3")
    plain = [by_hand(0.1, 4, 4, stream) for stream in range(6)]
    faster = [by_hand(0.3, 4, 4, stream) for stream in range(6)]

    at_once = np.concatenate([b - a for (a, _), (b, _) in zip(plain, faster, strict=True)])
    after = np.array([(b - a).mean() for (_, a), (_, b) in zip(plain, faster, strict=True)])
    for quantity, sample in (("effect_at_once", at_once), ("effect", after)):
        found = one(table, quantity, "algo.inner_optimizer.rate=0.3")
        # two intervals that hold together: each misses in 2.5 %
        ends = stats.t.interval(0.975, len(sample) - 1, sample.mean(), stats.sem(sample))
        assert found.value == pytest.approx(sample.mean(), rel=1e-9)
        assert (found.low, found.high) == pytest.approx(ends, rel=1e-9)


def test_a_change_of_nothing_has_no_effect():
    _, table = tried("outer.batch=4", "algo.inner_optimizer.rate=0.1")

    for change in ("outer.batch=4", "algo.inner_optimizer.rate=0.1"):
        effect = one(table, "effect", change)
        assert (effect.value, effect.low, effect.high) == (0.0, 0.0, 0.0)
        assert verdict(effect) == OPEN


def test_a_dearer_step_is_taken_less_often():
    _, table = tried("outer.batch=16", "outer.batch=1")

    assert one(table, "outer_steps", "outer.batch=16").value == 1
    assert one(table, "outer_steps", "outer.batch=1").value == 16


def test_a_rate_past_the_edge_is_too_fast_at_once():
    """At rate 2.6 of curvature 1 a step overshoots by 1.6; half of it lands nearer."""
    _, table = tried(
        "algo.inner_optimizer.rate=1.3", "algo.inner_optimizer.rate=3", rate=2.6, steps=1
    )

    assert verdict(one(table, "effect_at_once", "algo.inner_optimizer.rate=1.3")) == HELPS
    assert verdict(one(table, "effect_at_once", "algo.inner_optimizer.rate=3")) == HURTS


def test_what_helps_is_told_with_its_number():
    """Far from the center, six times the outer rate comes nearer; a fiftieth doesn't."""
    probe, table = tried("outer.rate=0.3", "outer.rate=0.001")

    assert verdict(one(table, "effect", "outer.rate=0.001")) == HURTS
    (finding,) = probe.find(table)
    assert "outer.rate=0.3 changes it by -" in finding.claim
    assert "1 lowers the validation loss" in finding.claim


def test_a_training_that_diverges_is_data():
    """Rate 1e200 overflows at once; the unchanged training is as it was."""
    _, table = tried("algo.inner_optimizer.rate=1e200")

    effect = one(table, "effect", "algo.inner_optimizer.rate=1e200")
    assert (effect.value, verdict(effect)) == (None, "diverged")
    assert one(table, "stopped", "algo.inner_optimizer.rate=1e200").value == pytest.approx(1.0)


@pytest.mark.parametrize("change", ["compute.chunk=2", "shots=2", "algo", "outer=3"])
def test_a_change_that_is_none_is_refused(change):
    with pytest.raises(mb.InvalidInput, match="A change is"):
        tried(change)


def test_verdicts_follow_the_interval():
    rows = [Row("effect", value=v, low=v - 1, high=v + 1) for v in (-2.0, 0.0, 2.0)]

    assert [verdict(row) for row in rows] == [HELPS, OPEN, HURTS]


PINNED = [
    "tasks=24",
    "tolerance=0.03",
    "nodes=12",
    "vectors=2",
    "meta=0",
    "layers=0",
]  # one fidelity
CHOSEN = ["family.dim=4", "outer.batch=2", "algo.inner_optimizer.rate=2.6", "algo.steps=4"]
CHOSEN += ["trial.repeats=4", "trial.held_out=8"]
CHOSEN += [f"spectrum.{field}" for field in PINNED]
QUICK = ["--family", "quadratic", "--probe", "verify,spectrum", "--budget", "90s", "--try", "1"]
QUICK += [word for given in CHOSEN for word in ("--set", given)]


def test_the_command_names_the_fault_tries_changes_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    first = CliRunner().invoke(main, ["diagnose", *QUICK, "--quiet"])
    again = CliRunner().invoke(main, ["diagnose", *QUICK, "--json"])

    assert first.exit_code == again.exit_code == 0, first.output
    head, _, rest = first.stdout.partition("\n\n")
    measured, verdict = head.splitlines()
    assert measured.startswith("diagnose of maml on quadratic: K = 4")
    assert verdict.startswith("verdict  2 of 2 probes measured. 1 problem (inner rate unstable)")
    assert rest.startswith("1. an inner rate past the edge of stability: found by spectrum")
    assert "confirmed on fresh tasks" in first.stdout
    (folder,) = (tmp_path / "metabench-runs").iterdir()
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Changes that were tried" in page
    assert "Found by spectrum." in page
    record = json.loads(again.stdout)
    assert record["findings"][0]["cause"] == "rate"
    assert record["findings"][0]["confirmed"] is True
    kept = json.loads((folder / "spectrum" / "record.json").read_text(encoding="utf-8"))
    part = next(each for each in record["parts"] if each["probe"] == "spectrum")
    assert part["seconds"] == kept["seconds"]  # the second run measured no part
    made = CliRunner().invoke(main, ["report", str(folder), "-o", str(tmp_path / "report.html")])
    assert made.exit_code == 0, made.output
    assert "Which change helps" not in made.output
