"""Does `constants` agree with closed forms, and report what the theory does not cover?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import metabench as mb
from metabench.linalg import hessian_lipschitz
from metabench.records.rows import from_table, to_table

QUICK = {"tasks": 64, "hessians": 8, "redrawn_tasks": 4, "run": 0}
MANY = {"tasks": 1024, "hessians": 16, "redrawn_tasks": 4, "run": 0}
BOWL = mb.Quadratic(dim=4, condition=4.0, jitter=0.5, shots=5, queries=3)


def measured(family, algorithm, theta=None, **settings):
    theta = family.theta(0) if theta is None else theta
    subject = mb.Subject(
        family.problem(), family.sample, algorithm, theta, mb.Vectorization("vmap")
    )
    probe = mb.Constants(**{**QUICK, **settings})
    return probe, to_table(probe.measure(subject, 0))


def one(table, quantity, of="", at=None):
    (row,) = [r for r in from_table(table, quantity, of) if at is None or r.at == at]
    return row


def findings(probe, table):
    probe.draw(table, Figure().subplots())
    for drawing in probe.drawings(table):
        drawing.draw(Figure().subplots())
    return {f.name: f for f in probe.find(table)}


def status(table, of):
    return one(table, "assumption", of).status


def near(row, truth, errors=4.0):
    """Within so many standard errors, as the row's own interval has them."""
    reach = max(row.high - row.value, row.value - row.low) * errors / 1.96
    return abs(row.value - truth) <= reach


def closed_forms(family, theta, rate, sets):
    """What one task's gradients on a bowl are on average, coordinate by coordinate, summed."""
    h, u = family.curvatures, theta.numpy()
    square = u**2 + family.spread**2
    D, Dq = family.shots, family.queries
    noise, wobble = family.noise**2, (h * family.jitter) ** 2

    def outer(shots):  # E |a x - e|^2 after a step on so many shots, and its variance over queries
        x = ((1 - rate * h) ** 2 + rate**2 * wobble / shots) * square + rate**2 * noise / shots
        return (h**2 + wobble / Dq) * x + noise / Dq, wobble / Dq * x + noise / Dq

    left = (1 - rate * h) ** 2 + rate**2 * wobble / D
    return {
        "gradient_variance tasks": (h**2 * family.spread**2).sum(),
        "gradient_variance one support set": (wobble * square + noise).sum() / D,
        "gradient_variance an example": (wobble * square + noise).sum(),
        "gradient_variance one query set": outer(sets * D)[1].sum(),
        "meta_gradient_squared ": ((h * (1 - rate * h) ** 2 * u) ** 2).sum(),
        "first_moment measured": ((h * (1 - rate * h) ** 2 * u) ** 2).sum(),
        "second_moment measured": (left * outer(D)[0]).sum(),
        "hessian_variance one support set": wobble.sum() / D,
        "hessian_variance an example": wobble.sum(),
    }


def test_variances_and_moments_of_a_quadratic_are_the_closed_forms():
    rate, theta = 0.1, BOWL.theta(3)

    _, table = measured(BOWL, mb.MAML(1, mb.SGD(rate)), theta, **MANY)

    for name, truth in closed_forms(BOWL, theta, rate, sets=4).items():
        quantity, _, of = name.partition(" ")
        assert near(one(table, quantity, of), truth), name
    bounds = [one(table, f"{name}_moment", "bound") for name in ("first", "second")]
    truth = closed_forms(BOWL, theta, rate, sets=4)
    F, within = truth["meta_gradient_squared "], truth["gradient_variance one support set"]
    query, sigma = (truth[f"gradient_variance {of}"] for of in ("one query set", "tasks"))
    assert near(bounds[0], 2 * F + 0.08 * within)
    assert near(bounds[1], 40 * F + 14 * sigma + 2 * query + within / 6)
    assert near(one(table, "slack", "first moment"), (2 * F + 0.08 * within) / F)


def test_a_quadratic_without_jitter_has_its_exact_lipschitz_constants():
    """L = 1, rho = 0, the meta-Hessian is h (1 - alpha h)^2, and its bound 4 L."""
    family = mb.Quadratic(dim=4, condition=4.0, jitter=0.0)

    probe, table = measured(family, mb.MAML(1, mb.SGD(0.1)))

    assert one(table, "gradient_lipschitz").value == pytest.approx(1.0, rel=1e-9)
    assert one(table, "gradient_lipschitz").status == "at least"
    assert not one(table, "hessian_lipschitz").value
    h = family.curvatures
    assert one(table, "smoothness", "measured").value == pytest.approx(
        (h * (1 - 0.1 * h) ** 2).max()
    )
    assert one(table, "smoothness", "bound").value == pytest.approx(4.0, rel=1e-9)
    assert one(table, "hessian_variance", "one support set").status == "zero"
    assert one(table, "rate", "stable for 50 % of tasks").value == pytest.approx(2.0)
    assert one(table, "rate", "many steps, 1 / (K L)").value == pytest.approx(1.0)
    assert one(table, "path_factor").value == pytest.approx(1.1**2)
    assert "covered" in findings(probe, table)


@pytest.mark.parametrize("dim", [1, 3])
def test_log_cosh_bowls_have_the_curvature_of_each_task(dim):
    """Without noise H = h sech^2(u), and its fastest change h |2 sech^2 tanh| / s by coordinate."""
    family = mb.LogCosh(dim=dim, noise=0.0, scale=0.7, condition=1.0 if dim == 1 else 3.0)
    theta = family.theta(1)

    _, table = measured(family, mb.MAML(1, mb.SGD(0.1)), theta)

    centers = family.sample(mb.Address.fresh(0, 8), 0).support[0][:, 0].numpy()
    h = np.geomspace(1.0, 1.0 / family.condition, dim)
    u = (theta.numpy() - centers) / family.scale
    sech2 = 1 / np.cosh(u) ** 2
    L = (h * sech2).max()
    rho = (h * np.abs(2 * sech2 * np.tanh(u)) / family.scale).max()
    assert one(table, "gradient_lipschitz", "start").value == pytest.approx(L, rel=1e-6)
    found = one(table, "hessian_lipschitz", "start").value  # a search, which may stop short of it
    assert (1 - 1e-4 if dim == 1 else 0.98) * rho <= found <= rho * (1 + 1e-4)
    assert one(table, "gradient_lipschitz").value <= family.gradient_lipschitz
    assert one(table, "hessian_lipschitz").value <= family.hessian_lipschitz
    slack = one(table, "slack", "smoothness")
    assert slack.low > 1


def test_ridge_has_its_exact_curvature_and_is_outside_the_theory():
    family = mb.Ridge(dim=3)
    theta = family.theta(0)

    probe, table = measured(family, mb.MAML(1, mb.SGD(0.01)), theta)

    largest = 0.0
    for i in range(8):
        H = 0
        for j in range(4):
            address = mb.Address(*(np.array([k]) for k in (i, j, 0, 0, 0)))
            x = family.sample(address, 0).support[0][0]
            X = torch.cat([x, torch.ones_like(x[:, :1])], 1)
            H = H + X.T @ X / len(X) / 4
        penalty = torch.diag(torch.cat([theta.exp(), torch.zeros(1)]))
        largest = max(largest, float(torch.linalg.eigvalsh(H + penalty)[-1]))
    assert one(table, "gradient_lipschitz", "start").value == pytest.approx(largest, rel=1e-9)
    assert not one(table, "hessian_lipschitz").value
    assert status(table, "theta is where adaptation starts") == "violated"
    assert not from_table(table, "first_moment", None)
    assert "The theory's bounds are not computed" in findings(probe, table)["not_covered"].claim


def test_the_theorys_method_takes_the_predicted_number_of_steps_on_a_quadratic():
    """Plain descent at beta shrinks coordinate d by 1 - beta h_d (1 - alpha h_d)^2 a step."""
    family = mb.Quadratic(dim=2, condition=1.0, jitter=0.0, noise=0.05, spread=0.05, offset=3.0)

    probe, table = measured(family, mb.MAML(1, mb.SGD(0.1)), precision=0.5, run=100)

    shrink = 1 - (0.9**2) / (12 * 4.0)
    expected = math.log(0.5) / math.log(shrink)
    taken = one(table, "iterations", "measured")
    assert taken.low <= expected <= taken.high
    found = findings(probe, table)["iterations"]
    assert f"took {taken.value:.3g}" in found.claim
    slack, bound = one(table, "slack", "iterations"), one(table, "iterations", "bound")
    assert slack.low <= bound.value / expected <= slack.high


def test_a_planted_network_outside_the_theory_is_reported_with_the_violated_assumptions():
    net = torch.nn.Sequential(torch.nn.Linear(1, 20), torch.nn.ReLU(), torch.nn.Linear(20, 1))
    family = Net(net)

    probe, table = measured(family, mb.MAML(3, mb.SGD(5.0)))
    found = findings(probe, table)

    assert status(table, "a Lipschitz Hessian") == "violated"
    assert status(table, "alpha L <= 1/6") == "violated"
    assert status(table, "K = 1") == "violated"
    assert "kink" in found["not_covered"].claim
    assert "K = 1 (here 3)" in found["not_covered"].claim
    assert found["inner_rate"].level == "warning"
    assert one(table, "first_moment", "bound", at=5.0).status == "withheld"
    smaller = [r for r in from_table(table, "slack", None) if r.of == "second moment"]
    assert len(smaller) == 1
    assert smaller[0].at == pytest.approx(1 / 6 / one(table, "gradient_lipschitz").value)


def test_smooth_networks_are_not_taken_for_kinked_ones():
    net = torch.nn.Sequential(torch.nn.Linear(1, 20), torch.nn.Tanh(), torch.nn.Linear(20, 1))

    _, table = measured(Net(net), mb.MAML(1, mb.SGD(0.001)))

    assert one(table, "kink").value == 0
    assert one(table, "hessian_lipschitz").value > 0
    assert one(table, "slack", "smoothness").low > 1


class Net(mb.Family):
    """Sine waves for any network of one input."""

    def __init__(self, net, loss=torch.nn.functional.mse_loss):
        torch.manual_seed(0)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        self.made = mb.Problem.from_module(net, loss)

    def problem(self):
        return self.made

    def theta(self, seed):
        return self.made.theta.double()

    def sample(self, address, seed):
        return mb.Sinusoid(shots=5, queries=5).sample(address, seed)


def test_dead_units_leave_no_curvature_and_no_gradient():
    """With every unit dead only the last bias moves: H = 2 on it, and nothing changes it."""
    net = torch.nn.Sequential(torch.nn.Linear(1, 6), torch.nn.ReLU(), torch.nn.Linear(6, 1))
    family = Net(net)
    theta = family.theta(0)
    theta[6:12] = -100.0

    probe, table = measured(family, mb.MAML(1, mb.SGD(0.01)), theta)

    assert one(table, "gradient_lipschitz").value == pytest.approx(2.0, rel=1e-6)
    assert not one(table, "hessian_lipschitz").value
    assert one(table, "kink").value == 0
    findings(probe, table)


def test_a_loss_without_gradient_has_constants_of_zero():
    problem = mb.Quadratic(dim=3).problem()
    flat = problem._replace(
        inner_loss=lambda p, t, d: 0 * problem.inner_loss(p, t, d),
        outer_loss=lambda p, t, d: 0 * problem.outer_loss(p, t, d),
    )

    class Flat(mb.Quadratic):
        def problem(self):
            return flat

    probe, table = measured(Flat(dim=3), mb.MAML(1, mb.SGD(0.1)))

    assert one(table, "gradient_lipschitz").value == 0
    assert one(table, "second_moment", "measured").status == "zero"
    assert findings(probe, table)["zero"].level == "warning"


def test_an_indefinite_hessian_counts_by_its_size():
    """A saddle f = (x^2 - 3 y^2) / 2 around each center: L = 3, stable rates by the 1 alone."""
    base = mb.Quadratic(dim=2, condition=1.0, jitter=0.0, noise=0.1)
    signs = torch.tensor([1.0, -3.0], dtype=torch.float64)

    class Saddle(mb.Quadratic):
        def problem(self):
            def loss(phi, theta, data):
                return (0.5 * signs * (phi - data[1]) ** 2).sum(-1).mean()

            return base.problem()._replace(inner_loss=loss, outer_loss=loss)

    probe, table = measured(Saddle(dim=2, jitter=0.0, noise=0.1), mb.MAML(1, mb.SGD(0.01)))

    assert one(table, "gradient_lipschitz").value == pytest.approx(3.0, rel=1e-9)
    assert one(table, "rate", "stable for 50 % of tasks").value == pytest.approx(2.0, rel=1e-9)
    assert one(table, "smoothness", "measured").value == pytest.approx(3 * 1.03**2, rel=1e-9)
    findings(probe, table)


def test_no_inner_step_one_parameter_and_one_task_are_each_measured():
    none = measured(BOWL, mb.MAML(0, mb.SGD(0.1)))
    single = measured(mb.Quadratic(dim=1, jitter=0.0), mb.MAML(1, mb.SGD(0.1)))
    alone = measured(BOWL, mb.MAML(1, mb.SGD(0.1)), tasks=1)

    assert status(none[1], "K = 1") == "violated"
    assert one(single[1], "gradient_lipschitz").value == pytest.approx(1.0)
    assert one(alone[1], "gradient_variance", "tasks").status == "unresolved"
    assert one(alone[1], "gradient_lipschitz").value > 0
    for probe, table in (none, single, alone):
        findings(probe, table)
    assert "few_tasks" in findings(*alone)


def test_divergence_is_reported_and_raises_nothing():
    theta = torch.full((4,), 1e200, dtype=torch.float64)

    probe, table = measured(BOWL, mb.MAML(1, mb.SGD(0.1)), torch.full((4,), torch.inf).double())
    said = findings(probe, table)
    assert said["not_finite_input"].level == "critical"
    assert "theta" in said["not_finite_input"].claim
    assert said["diverged"].level == "info"  # it follows from theta

    probe, table = measured(BOWL, mb.MAML(40, mb.SGD(1e12)), theta)
    assert any(f.level == "critical" for f in findings(probe, table).values())


def test_a_black_box_and_a_plain_sampler_get_the_rows_that_need_no_loop_or_redraws():
    def theirs(theta, task):
        return task.query[0].sum(), {"phi": theta["phi"]}

    probe, table = measured(BOWL, mb.BlackBox(theirs))
    assert one(table, "gradient_lipschitz").value > 0
    assert "black box" in findings(probe, table)["withheld"].claim

    plain = mb.Indexed(lambda indices, seed: BOWL.sample(fresh(indices), seed)[:2])
    subject = mb.Subject(BOWL.problem(), plain, mb.MAML(1, mb.SGD(0.1)), BOWL.theta(0))
    table = to_table(probe.measure(subject, 0))
    assert one(table, "gradient_variance", "tasks").status == "not_redrawable"
    assert one(table, "smoothness", "measured").value > 0
    assert "no_redraws" in findings(probe, table)


def fresh(indices):
    zeros = np.zeros_like(indices)
    return mb.Address(indices, zeros, zeros, zeros, zeros)


@pytest.mark.parametrize(
    ("algorithm", "violated"),
    [
        (mb.MAML(1, mb.Momentum(0.01)), "plain inner descent"),
        (mb.MAML(2, mb.Adam(0.01)), "plain inner descent"),
        (mb.FOMAML(1, mb.SGD(0.01)), "MAML's own gradient"),
        (mb.MAML(1, mb.SGD(0.01), batch=2), "MAML's own gradient"),
        (mb.IMAML(2), "MAML's own gradient"),
        (mb.MetaSGD(1), "theta is where adaptation starts"),
    ],
)
def test_other_loops_are_named_as_outside_the_theory(algorithm, violated):
    probe, table = measured(BOWL, algorithm)

    assert status(table, violated) == "violated"
    assert violated in findings(probe, table)["not_covered"].claim


def test_the_search_for_the_fastest_change_finds_a_tensors_norm():
    """f = sum of c_d x_d^3 / 6: D^3 f[u, u] is largest along the largest c."""
    c = torch.tensor([1.0, -4.0, 2.0], dtype=torch.float64)
    points = torch.randn(5, 3, dtype=torch.float64)
    starts = torch.randn(2, 5, 3, dtype=torch.float64)

    found = hessian_lipschitz.hessian_change(
        lambda x: c * x**2 / 2, points, starts, torch.ones(5).double()
    )
    kinked = hessian_lipschitz.hessian_change(
        lambda x: x.abs(), 1e-4 * points, starts, torch.ones(5)
    )

    assert float(found.rate.max()) == pytest.approx(4.0, rel=1e-6)
    assert bool((found.rate <= 4.0 * (1 + 1e-6)).all())
    assert bool(found.converged.all())
    assert not bool(kinked.converged.any())


@pytest.mark.parametrize(
    "settings", [{"tasks": 0}, {"redrawn_tasks": 3}, {"precision": 1.0}, {"floor": math.inf}]
)
def test_invalid_settings_are_refused(settings):
    with pytest.raises(mb.InvalidInput):
        mb.Constants(**settings)


def test_a_finding_reports_what_the_budget_reduced():
    """Fewer tasks and coarser eigenvalues within few operations, coarser alone with few tasks."""
    algorithm = mb.MAML(1, mb.SGD(0.1))
    few = {"tasks": 32, "hessians": 8}

    said = {
        name: findings(*measured(BOWL, algorithm, **settings)).get("reduced")
        for name, settings in {
            "all": {"budget": 1e12},
            "fewer": {"budget": 1.0},
            "coarser": {**few, "budget": 1.0},
        }.items()
    }

    assert said["all"] is None
    assert "moments use 32 tasks" in said["fewer"].claim
    assert "moments" not in said["coarser"].claim
    assert "only to 5 % of the largest" in said["coarser"].claim
    assert "only to 5 % of the largest" in said["fewer"].claim
