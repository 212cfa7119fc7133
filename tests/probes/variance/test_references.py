"""Is every estimator compared with the exact one of its objective, and no claim taken untested?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from metabench.algorithms.adapt import NO_BACKWARD, adapt
from metabench.algorithms.base import Algorithm, MetaGrad, through_init
from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.autodiff import derivatives
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.probes.variance import Variance
from metabench.records.rows import from_table, to_table

FAST = SGD(0.3)
QUICK = Variance(tasks=64, batches=16, sizes=(1, 2), redrawn_tasks=32, shot_multiples=0)


def first_order(algorithm, problem, theta, task):
    path = adapt(algorithm.inner_optimizer, algorithm.steps, problem, theta, task, NO_BACKWARD)
    loss, v, direct = derivatives.value_and_gradients(
        problem.outer_loss, path.last, theta, task.query
    )
    return MetaGrad(through_init(problem, theta, v) + direct, loss, path.last, {})


@dataclass(frozen=True)
class Stranger(Algorithm):
    """First order, written anew, with its reference named."""

    def __call__(self, problem, theta, task):
        return first_order(self, problem, theta, task)

    def reference(self):
        return MAML(self.steps, self.inner_optimizer, self.batch)


@dataclass(frozen=True)
class Unnamed(Algorithm):
    """The same, with none."""

    def __call__(self, problem, theta, task):
        return first_order(self, problem, theta, task)


@dataclass(frozen=True)
class Careless(MAML):
    """MAML that drops every Hessian, and inherits the claim to be exact."""

    def __call__(self, problem, theta, task):
        return first_order(self, problem, theta, task)


@dataclass(frozen=True)
class Faithful(MAML):
    """MAML under another name."""


@dataclass(frozen=True)
class Elsewhere(MAML):
    """Another objective than MAML's, whose reference it inherits."""

    def __call__(self, problem, theta, task):
        found = super().__call__(problem, theta, task)
        return found._replace(grad=2 * found.grad, loss=2 * found.loss)

    def objective(self, problem, theta, task):
        return 2 * super().objective(problem, theta, task)


def measured(algorithm):
    family = Quadratic(dim=3)
    subject = Subject(family.problem(), family.sample, algorithm, family.theta(0) + 3)
    rows = QUICK.measure(subject, 0)
    (bias,) = (r for r in rows if r.quantity == "bias" and r.of == "estimator" and not r.layer)
    return bias, rows


@pytest.fixture(scope="module")
def first():
    """The bias of the first order, by metabench's own."""
    return measured(FOMAML(2, FAST))[0]


@pytest.mark.parametrize("algorithm", [Stranger(2, FAST), Careless(2, FAST)])
def test_a_strangers_first_order_has_the_bias_of_ours(algorithm, first):
    bias, rows = measured(algorithm)

    assert first.status == "ok"
    assert bias == first
    claims = [finding.claim for finding in QUICK.find(to_table(rows))]
    assert any(claim.startswith(f"{__name__}:{type(algorithm).__name__} is biased: the squared")
               for claim in claims)  # fmt: skip
    assert not any("is unbiased" in claim for claim in claims)


def test_a_subclass_that_changes_nothing_is_found_to_be_unbiased():
    bias, rows = measured(Faithful(2))

    assert (bias.status, bias.value) == ("zero", 0.0)
    assert {r.of for r in from_table(to_table(rows), "mse", of=None)} == {
        "maml",
        f"{__name__}:Faithful",
    }


@pytest.mark.parametrize(("algorithm", "refuted"), [
    (Careless(2, FAST), True), (Stranger(2, FAST), False), (Faithful(2), False),
])  # fmt: skip
def test_who_claims_to_be_exact_and_is_not_is_contradicted(algorithm, refuted):
    _, rows = measured(algorithm)

    said = {finding.name: finding for finding in QUICK.find(to_table(rows))}

    assert ("claim_refuted" in said) == refuted
    assert not refuted or said["claim_refuted"].level == "warning"


@pytest.mark.parametrize("algorithm", [Unnamed(2), Elsewhere(2)])
def test_without_a_valid_reference_no_bias_is_reported(algorithm):
    bias, rows = measured(algorithm)

    assert bias.status == "no_reference"
    claims = [finding.claim for finding in QUICK.find(to_table(rows))]
    assert any("names no exact estimator of the same objective" in claim for claim in claims)
