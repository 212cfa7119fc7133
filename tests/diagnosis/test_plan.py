"""Can a checkup be asked for and read from Python alone?"""

from __future__ import annotations

import pytest

import metabench as mb
from metabench.diagnosis import save
from metabench.diagnosis.page import page
from metabench.diagnosis.plan import Plan, plan_of
from metabench.measurement.clock import Clock
from metabench.measurement.measurement import Measurement
from metabench.records.provenance import provenance

SMALL = {"tasks": 24, "tolerance": 0.03, "nodes": 12, "vectors": 2, "meta": 0, "layers": 0}


def cell():
    algorithm = mb.MAML(steps=4, inner_optimizer=mb.SGD(rate=2.6))
    return Measurement(
        mb.Verify(), algorithm, mb.Quadratic(dim=4), mb.Vectorization(), 0, "float64", "cpu", ""
    )


def test_a_plan_gives_faults_table_and_page_and_prints_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    plan = Plan(cell(), steps=0, only=("verify", "spectrum"), chosen={"spectrum": SMALL})

    found = plan.check(Clock(300))

    assert found.faults[0].cause == "rate"
    assert {"stable_rate", "check"} <= set(save.table(found)["quantity"])
    assert "Found by spectrum." in page(found, plan.spec, provenance("cpu"))
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_words_make_the_plan_that_their_values_make():
    words = ["outer.batch=4", "trial.repeats=5", "spectrum.tasks=24", "family.dim=4"]

    made = plan_of(steps=3, probe="verify,spectrum", family="quadratic", assignments=words)

    assert made.outer == mb.OuterOptimizer(batch=4)
    assert (made.measurement.family, made.only) == (mb.Quadratic(dim=4), ("verify", "spectrum"))
    spec = {name: made.spec[name] for name in ("try", "trial", "spectrum")}
    assert spec == {"try": 3, "trial": {"repeats": "5"}, "spectrum": {"tasks": "24"}}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"only": ("spectre",)}, "did you mean 'spectrum'"), ({"chosen": {"trial": {"repeats": 1}}},
     "repeats is 1; it must be at least 4")],
)  # fmt: skip
def test_a_plan_that_can_not_be_is_refused_before_anything_is_measured(wrong, words):
    with pytest.raises(mb.InvalidInput, match=words):
        Plan(cell(), **wrong)
