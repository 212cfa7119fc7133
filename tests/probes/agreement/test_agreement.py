"""Do methods on one inner problem have the errors that closed forms predict?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import metabench as mb
from metabench.probes.agreement import Agreement, compare
from metabench.records.rows import from_table, to_table

BOWL = mb.Quadratic(dim=4, condition=2.0, jitter=0.3, shots=3, queries=3)
QUICK = {"tasks": 16, "at": (1, 10, 60), "budgets": (1, 4), "rounds": 1, "truncate": 3}


def measured(algorithm, family=BOWL, **settings):
    theta = family.theta(0)
    subject = mb.Subject(family.problem(), family.sample, algorithm, theta)
    probe = Agreement(**{**QUICK, **settings})
    return probe, to_table(probe.measure(subject, 0))


def one(table, quantity, at=None, of="", layer=""):
    found = [r for r in from_table(table, quantity, of, layer) if at is None or r.at == at]
    (row,) = found
    return row


@pytest.fixture(scope="module")
def bowl():
    return measured(mb.MAML(5, mb.SGD(0.3)), proximal_strengths=())


def closed(K, rate, strength, count, first_order=False):
    """Of each task: (I - rate A)^K or lambda A^-1, A = a + lambda, times the query gradient."""
    tasks = BOWL.sample(mb.Address.fresh(0, count), 0)
    theta = BOWL.theta(0).numpy()
    a, z = (leaf.numpy() for leaf in tasks.support)
    b, y = (leaf.numpy() for leaf in tasks.query)
    A = a.mean(1) + strength
    least = ((a * z).mean(1) + strength * theta) / A
    phi = least + (1 - rate * A) ** K * (theta - least)
    gradient = (b * (phi[:, None] - y)).mean(1)
    back = (1 - rate * A) ** K
    through = back + strength / A * (1 - back)  # the proximal term depends on theta at every step
    return gradient if first_order else through * gradient, strength / A * gradient


def test_every_method_is_its_closed_form_on_a_bowl(bowl):
    _, table = bowl
    best = closed(100_000, 0.3, 2.0, 16)[1]

    for K in (1, 10, 60):
        unrolled, implicit = closed(K, 0.3, 2.0, 16)
        first, _ = closed(K, 0.3, 2.0, 16, first_order=True)
        for name, grads in (("maml", unrolled), ("fomaml", first), ("cg 4", implicit)):
            expected = np.median(compare.relative_error(grads, best))
            assert one(table, "error", K, name).value == pytest.approx(expected, rel=1e-6, abs=1e-9)
            expected = np.median(compare.relative_error(grads, unrolled))
            found = one(table, "error_unrolled", K, name).value
            assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_unrolled_and_implicit_meet_where_the_inner_loop_converges(bowl):
    _, table = bowl

    assert one(table, "error", 60, "maml").value < 1e-10
    assert one(table, "error", 60, "cg 4").value < 1e-10
    assert one(table, "error", 60, "fomaml").value > 0.05
    assert one(table, "minimum_found").value == pytest.approx(1.0)


def test_each_cause_has_its_part_of_the_error(bowl):
    _, table = bowl

    def part(name, K):
        return one(table, "error_part", K, name).value

    assert part("cg 4: inner convergence", 60) < 1e-10
    assert part("cg 1: solver", 60) > 1e-3
    assert part("cg 4: solver", 60) < 1e-10
    assert 1e-9 < part("cg 4: arithmetic", 60) < 1e-5
    assert part("fomaml: method", 60) > 0.05


def test_parts_sum_to_the_error():
    at_minimum, exact, double, single = np.random.default_rng(0).normal(size=(4, 9, 3))

    size = np.linalg.norm(at_minimum, axis=1)
    made = compare.error_parts(at_minimum, exact, double, single, 1, "x", True)
    rows = {r.of: r.value for r in made}

    gaps = {
        "inner convergence": exact - at_minimum,
        "solver": double - exact,
        "arithmetic": single - double,
    }
    assert np.allclose(sum(gaps.values()), single - at_minimum)
    for part, gap in gaps.items():
        assert rows[f"x: {part}"] == pytest.approx(np.median(np.linalg.norm(gap, axis=1) / size))


def test_findings_name_the_cheapest_and_the_cause(bowl):
    probe, table = bowl
    findings = {f.name: f for f in probe.find(table)}

    assert findings["cheapest_within_1_percent"].claim.startswith(
        "Of the methods within 1 % of the gradient at the inner minimum, the cheapest per task is: "
        "in seconds"
    )
    # the cheapest is one of those within the target
    for row in findings["cheapest_within_1_percent"].evidence:
        assert row.high <= 0.01


def test_an_unconverged_inner_loop_is_named_as_the_cause():
    probe, table = measured(
        mb.IMAML(2, mb.SGD(0.05), proximal_strength=1.0), at=(2,), proximal_strengths=()
    )
    findings = {f.name: f for f in probe.find(table)}

    assert one(table, "proximal_strength").value == pytest.approx(1.0)
    assert findings["cause_of_error"].level == "warning"
    assert "a better solver would not help" in findings["cause_of_error"].repair


def test_a_lambda_below_the_negative_curvature_is_reported_as_a_saddle():
    """A bowl with curvature -3 in one direction, and lambda = 2."""
    bend = torch.tensor([1.0, -3.0], dtype=torch.float64)
    layout = mb.Layout(("phi",), ((2,),))

    def loss(phi, theta, data):
        return (bend * phi**2).sum() / 2 + (phi**4).sum() / 4 - phi @ data[1].mean(0)

    from metabench.problems.parameter_layout import Layouts

    family = mb.Quadratic(dim=2)
    problem = mb.Problem(lambda t: t, loss, loss, Layouts(layout, layout))
    probe = Agreement(**{**QUICK, "at": (1,), "proximal_strengths": ()})
    found = {}
    for algorithm in (mb.IMAML(1, mb.SGD(0.01)), mb.MAML(1, mb.SGD(0.01))):
        subject = mb.Subject(problem, family.sample, algorithm, torch.ones(2).double() / 9)
        table = to_table(probe.measure(subject, 0))
        (found[type(algorithm)],) = [f for f in probe.find(table) if f.name == "saddles"]
        # an inverse with poles among the tasks has no mean to compare
        assert one(table, "cosine_unrolled", 1, "dense").status == "withheld"
        assert one(table, "cosine_unrolled", 1, "fomaml").status == "unresolved"

    assert "the implicit gradient is undefined" in found[mb.IMAML].claim
    assert found[mb.IMAML].level == "warning"
    assert found[mb.MAML].level == "info"  # which takes no implicit gradient


def test_memory_grows_with_k_for_the_unroll_and_not_for_implicit(bowl):
    _, table = bowl

    def held(name):
        return [one(table, "bytes", K, name).value for K in (10, 60)]

    ten, many = held("maml")
    assert many > 3 * ten
    ten, many = held("cg 4")
    assert many == ten
    ten, many = held("fomaml")
    assert many == ten


def test_each_layer_has_an_error():
    family = mb.Sinusoid(hidden=(4,))
    _, table = measured(
        mb.MAML(2), family, at=(2,), tasks=8, minimum_steps=20, proximal_strengths=()
    )

    layers = {r.layer for r in from_table(table, "error_unrolled", of="fomaml", layer=None)}
    assert layers == {"", *family.problem().layouts.theta.names}


@pytest.mark.parametrize(
    ("settings", "family"),
    [({"at": (0,)}, BOWL), ({"tasks": 1}, BOWL), ({}, replace(BOWL, dim=1)), ({}, mb.Ridge())],
    ids=["K = 0", "one task", "P = 1", "phi and theta differ"],
)
def test_edge_cases_give_numbers_or_a_finding(settings, family):
    from matplotlib.figure import Figure

    settings = {"at": (3,), "proximal_strengths": (), "minimum_steps": 50, **settings}
    probe, table = measured(mb.MAML(0, mb.SGD(0.1)), family, **settings)

    probe.find(table)
    for drawing in probe.drawings(table):
        drawing.draw(Figure().subplots())


def test_a_diverged_inner_loop_is_reported_and_not_averaged():
    probe, table = measured(
        mb.MAML(1, mb.SGD(1e30)), at=(40,), proximal_strengths=(), minimum_steps=20
    )

    assert one(table, "error", 40, "maml").status == "diverged"
    assert one(table, "cosine", 40, "maml").status == "diverged"
    probe.find(table)


def test_a_black_box_is_withheld_with_a_finding():
    family = BOWL
    box = mb.BlackBox(lambda theta, task: theta)
    subject = mb.Subject(family.problem(), family.sample, box, family.theta(0))
    probe = Agreement(**QUICK)

    (finding,) = probe.find(to_table(probe.measure(subject, 0)))

    assert finding.name == "withheld"


def test_storing_no_vjps_changes_no_bits():
    from metabench.algorithms.adapt import KEEP_GRAPHS, NO_BACKWARD, adapt

    family = BOWL
    task = mb.Task(*(tuple(leaf[0] for leaf in part) for part in family.sample(
        mb.Address.fresh(0, 1), 0)[:2]))  # fmt: skip
    kept, gone = (
        adapt(mb.Momentum(0.1), 7, family.problem(), family.theta(0), task, store)
        for store in (KEEP_GRAPHS, NO_BACKWARD)
    )

    assert torch.equal(kept.last, gone.last)
    assert gone.vjps == ()


def test_appended_parameters_are_left_out():
    small = {"tasks": 4, "at": (1,), "budgets": (1,), "minimum_steps": 20}
    _, plain = measured(mb.MAML(1, mb.SGD(0.3)), **small)
    expected = [row.value for row in from_table(plain, "error", "cg 1")]

    for learned in (mb.AlphaMAML, mb.MetaSGD, mb.BMAML):
        _, table = measured(learned(1, mb.SGD(0.3)), **small)

        assert [row.value for row in from_table(table, "error", "cg 1")] == expected
        assert len(expected) == 1


def test_expectations_that_were_not_computed_are_named_and_those_computed_are_not(bowl):
    probe, table = bowl
    withheld = table.copy()
    withheld.loc[(table["quantity"] == "cosine") & (table["of"] == "fomaml"), "status"] = "withheld"

    (found,) = [f for f in probe.find(withheld) if f.name == "not_computed"]

    assert "are not computed for fomaml (K = " in found.claim
    assert "not_computed" not in {f.name for f in probe.find(table)}


def made(*rows, found=1.0, own=("maml", 5.0)):
    """Findings of a table with one method's rows, and the share of minima found."""
    lines = [
        mb.Row("minimum_found", value=found, low=found - 0.1, high=min(found + 0.1, 1.0)),
        mb.Row("gradient_norm_at_minimum", value=0.3),
        mb.Row("own_steps", of=own[0], value=own[1]),
        *rows,
    ]
    return {each.name: each for each in mb.Agreement().find(to_table(lines))}


def test_methods_are_not_ranked_by_errors_to_minima_that_were_not_found():
    error = mb.Row("error", at=5.0, of="maml", value=0.3, low=0.2, high=0.4)

    lost, found = made(error, found=0.1), made(error, found=0.9)

    assert "cheapest_within_10_percent" not in lost
    assert "methods are not ranked" in lost["minimum_not_found"].claim
    assert found["cheapest_within_10_percent"].state == "undecided"


def test_first_order_is_judged_at_the_algorithms_own_k():
    rows = [
        mb.Row(name, at=at, of="fomaml", value=value, low=value - 0.01, high=value + 0.01)
        for at, value in ((5.0, 0.97), (40.0, 0.5))
        for name in ("cosine_unrolled", "error_unrolled")
    ]

    here = made(*rows, own=("fomaml", 5.0))["first_order"]
    beyond = made(*rows, own=("fomaml", 40.0))["first_order"]

    assert (here.state, beyond.state) == ("fine", "fault")
    assert "At your K = 5" in here.claim
    assert "The smallest cosine, 0.5 [0.49, 0.51], is that at K = 40." in here.claim
