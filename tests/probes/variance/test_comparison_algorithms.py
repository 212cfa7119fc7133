"""Are estimators compared on the same tasks, for equal tasks and for equal time?"""

from __future__ import annotations

import importlib

import pytest

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.probes.variance import Variance
from metabench.records.rows import from_table, to_table
from metabench.settings.errors import InvalidInput

FAMILY = Quadratic(dim=6, shots=2, queries=4, jitter=0.9, offset=2.0, spread=0.5, noise=0.5)
STEP = SGD(rate=0.7)
SECONDS = {"MAML": 0.003, "FOMAML": 0.001, "HFMAML": 0.006, "Reptile": 0.001}


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """A clock that counts milliseconds a task by the algorithm."""

    def clock(subject, address, seed, size):
        return SECONDS[type(subject.algorithm).__name__] * len(address.task)

    measure = importlib.import_module("metabench.probes.variance.measure_seconds")
    monkeypatch.setattr(measure, "seconds_taken", clock)


def measured(against, algorithm=MAML, tasks=4096, **settings):
    subject = Subject(FAMILY.problem(), FAMILY.sample, algorithm(2, STEP), FAMILY.theta(0),
                      Vectorization(chunk=4096))  # fmt: skip
    settings = {"redrawn_tasks": 2048, "shot_multiples": 0, "sizes": (1, 4), **settings}
    probe = Variance(tasks, batch=4, compare_with=against, **settings)
    table = to_table(probe.measure(subject, 1))
    return table, probe.find(table)


def rows(table, quantity, at=None):
    return {r.of: r for r in from_table(table, quantity, of=None) if at is None or r.at == at}


@pytest.mark.parametrize("algorithm", [MAML, FOMAML])
def test_errors_in_the_same_seconds_are_those_of_the_closed_form(algorithm):
    theta = FAMILY.theta(0)
    exact, short = (FAMILY.truth(theta, 2, 0.7, first) for first in (False, True))
    bias = float(((exact.mean - short.mean) ** 2).sum())

    table, _ = measured(("reptile",), algorithm)

    found = rows(table, "mse_same_seconds", at=4.0)
    # one task of maml leaves time for three of fomaml
    assert found["maml"].low < exact.variance / 4 < found["maml"].high
    assert found["fomaml"].low < bias + short.variance / 12 < found["fomaml"].high


def test_further_algorithms_are_compared_with_the_exact_one():
    table, findings = measured(("hf_maml", "fomaml", "reptile"))

    errors, seconds = rows(table, "mse", at=4.0), rows(table, "seconds_per_task")
    assert set(errors) == set(seconds) == {"maml", "fomaml", "hf_maml", "reptile"}
    # differences of a quadratic's gradients are its Hessian
    assert errors["hf_maml"].value == pytest.approx(errors["maml"].value, rel=1e-6)
    same = rows(table, "mse_same_seconds", at=4.0)["hf_maml"]
    assert same.value == pytest.approx(2 * errors["maml"].value, rel=1e-6)
    bias, even = rows(table, "bias"), rows(table, "break_even")
    assert bias["reptile"].low > 0
    assert {"", "reptile"} <= set(even)
    (finding,) = [f for f in findings if f.name == "comparison"]
    assert "In the time that 4 tasks of maml take" in finding.claim
    assert all(name in finding.claim for name in errors)


def test_the_break_even_budget_agrees_with_the_closed_form():
    theta = FAMILY.theta(0)
    exact, short = (FAMILY.truth(theta, 2, 0.7, first) for first in (False, True))
    bias = float(((exact.mean - short.mean) ** 2).sum())

    table, _ = measured(("reptile",))

    expected = max((exact.variance - short.variance) / bias, 0.0)
    even = rows(table, "break_even")[""]
    assert even.low <= expected <= even.high
    in_seconds = rows(table, "break_even_seconds")[""]
    excess = SECONDS["MAML"] * exact.variance - SECONDS["FOMAML"] * short.variance
    assert in_seconds.low <= max(excess / bias, 0.0) <= in_seconds.high


@pytest.mark.parametrize(
    ("name", "words"), [("meta_sgd", "learns more than theta"), ("mamel", "did you mean")]
)
def test_what_cannot_be_compared_is_refused(name, words):
    with pytest.raises(InvalidInput, match=words):
        measured((name,), tasks=64, redrawn_tasks=16)
