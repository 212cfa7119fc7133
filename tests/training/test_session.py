"""Can a training with probes on the way be run, taken up and read from Python alone?"""

from __future__ import annotations

import pytest
import torch

import metabench as mb
from metabench.measurement.measurement import Measurement
from metabench.training.plan import Plan, plan_of
from metabench.training.resume import replay_path
from metabench.training.session import Session

WORDS = {"family": "quadratic", "assignments": ["outer.batch=4", "outer.held_out=16"]}


def plan(steps=6, every=3, rate=0.05):
    algorithm = mb.MAML(steps=2, inner_optimizer=mb.SGD(rate=0.1))
    cell = Measurement(
        mb.Verify(), algorithm, mb.Quadratic(dim=4), mb.Vectorization(), 0, "float64", "cpu", ""
    )
    outer = mb.OuterOptimizer(batch=4, held_out=16, optimizer="sgd", rate=rate)
    return Plan(cell, outer, steps, every, {"verify": mb.Verify(thorough=False)})


def test_a_session_gives_table_findings_and_page_and_prints_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    found = Session(plan()).train()

    validated = found.table[found.table["quantity"] == "validation"]
    assert list(validated["at"]) == [0.0, 3.0, 6.0]
    assert all(isinstance(finding, mb.Finding) for finding in found.findings)
    assert "Is meta-training making progress?" in found.page()
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_session_takes_the_steps_of_the_trainer():
    session, trainer = Session(plan()), plan().with_fixed_engine("").trainer()

    session.train()
    while trainer.step < trainer.steps:
        trainer.advance()

    assert torch.equal(session.trainer.theta, trainer.theta)


def test_a_session_that_was_stopped_goes_on_to_the_same_numbers(tmp_path):
    """Stopped by what says how far it is, at the second pause."""
    whole, save = Session(plan()).train(), tmp_path / "theta.safetensors"

    def stop(done, total):
        raise KeyboardInterrupt

    session = Session(plan(), save)
    session.trainer.advance()
    with pytest.raises(KeyboardInterrupt):
        session.train(stop)
    again = Session(plan(), save)
    taken_up = again.trainer.step
    found = again.train()

    assert 0 < taken_up < 6
    unlike = ["seconds", "seconds_a_step"]
    rows = [
        [row for row in of.rows if row.quantity not in unlike and row.at] for of in (whole, found)
    ]
    assert rows[0] == rows[1]


def test_a_session_that_fails_says_so_and_leaves_what_a_replay_needs(tmp_path):
    save = tmp_path / "theta.safetensors"

    session = Session(plan(every=6, rate=1e200), save)
    found = session.train()

    assert session.failed
    assert found.findings[0].level == "critical"
    assert replay_path(save).is_file()


def test_words_make_the_plan_that_their_values_make():
    made = plan_of(steps=30, probe="verify", **WORDS)

    assert (made.steps, made.every, list(made.probes)) == (30, 3, ["verify"])
    assert (made.outer.batch, made.cell.family) == (4, mb.Quadratic())
