"""Does `spectrum` agree with dense eigenvalues, and count tasks past the edge?"""

from __future__ import annotations

import cases
import numpy as np
import pytest
import torch
from looks import SMALL, looked, of, one
from torch import nn

from metabench.algorithms.black_box import BlackBox
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.momentum import Momentum
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.autodiff import per_task_products
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.families.ridge import Ridge
from metabench.families.sinusoid import Sinusoid
from metabench.probes.spectrum import Spectrum
from metabench.problems.parameter_layout import Layout, Layouts
from metabench.problems.problem import Problem
from metabench.problems.samplers import Indexed
from metabench.problems.tasks import Address, tree_map
from metabench.records.rows import from_table


def hessian(loss):
    return torch.func.jacrev(torch.func.grad(loss))


def dense(subject: Subject, count: int, K: int, rate: float) -> tuple[list, list]:
    """Every task's Hessian at both ends of K plain steps, by torch.func alone."""
    tasks = subject.draw(Address.fresh(0, count), 0)
    first, last = [], []
    for i in range(count):
        support = tuple(leaf[i] for leaf in tasks.support)

        def loss(phi, support=support):
            return subject.problem.inner_loss(phi, subject.theta, support)

        phi = subject.theta
        first.append(hessian(loss)(phi))
        for _ in range(K):
            phi = phi - rate * torch.func.grad(loss)(phi)
        last.append(hessian(loss)(phi))
    return first, last


@pytest.mark.parametrize("exact", [0, 100], ids=["Lanczos", "written out"])
def test_quantiles_sums_and_shares_are_those_of_the_dense_hessians(exact):
    subject = of(SMALL, MAML(2, SGD(0.05)), chunk=7)

    table, _ = looked(subject, exact=exact, tolerance=1e-10, nodes=53, vectors=53, layers=3)

    for place, matrices in zip(("start", "adapted"), dense(subject, 25, 2, 0.05), strict=True):
        values = torch.linalg.eigvalsh(torch.stack(matrices)).numpy()
        for name, column in (("largest", values[:, -1]), ("smallest", values[:, 0])):
            found = one(table, f"{name}_eigenvalue", place, at=0.5)
            assert np.abs(column - found.value).min() <= 1e-8 * np.abs(values).max()
            assert abs(np.sum(column < found.value - 1e-7) - 12) == 0
            assert found.low < found.value < found.high
        assert one(table, "trace", place).value == pytest.approx(values.sum(1).mean(), rel=1e-8)
        past = (0.05 * values[:, -1] > 2).mean()
        assert one(table, "past_edge", place).value == pytest.approx(past)
        layer = subject.problem.layouts.phi.names[2]
        segment = dict(subject.problem.layouts.phi.segments())[layer]
        blocks = torch.stack(matrices)[:, segment, segment]
        tops = torch.linalg.eigvalsh(blocks)[:, -1].numpy()
        found = one(table, "largest_eigenvalue", place, layer=layer)
        assert np.abs(tops - found.value).min() <= 1e-8 * tops.max()
        if exact:
            sizes, down = np.abs(values), np.maximum(-values, 0)
            shape = sizes / sizes.max(1, keepdims=True)  # each task in units of its own largest
            rank = shape.sum(1).mean() ** 2 / (shape**2).sum(1).mean()
            assert one(table, "effective_rank", place).value == pytest.approx(rank, rel=1e-8)
            mass = down.sum() / sizes.sum()
            assert one(table, "negative_mass", place).value == pytest.approx(mass, rel=1e-8)


def test_the_band_of_the_density_holds_the_exact_one():
    """96 tasks by quadrature, two starts each, against every eigenvalue of 400 tasks."""
    subject = of(SMALL, MAML(0))
    table, _ = looked(subject, exact=0, nodes=10, tasks=96)

    values = torch.linalg.eigvalsh(torch.stack(dense(subject, 400, 0, 0.0)[0])).numpy()
    rows = from_table(table, "cumulative_density", of="start")
    inside = [row.low <= (values <= row.at).mean() <= row.high for row in rows]
    assert len(rows) > 30
    assert np.mean(inside) > 0.92
    # and it isn't the band of all answers
    assert np.median([row.high - row.low for row in rows]) < 0.5


STEPS = {
    "sgd": (SGD(0.1), 2.0),
    "momentum": (Momentum(0.1, momentum=0.8), 3.6),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_grows_beyond_its_edge_and_not_below(name):
    step, edge = STEPS[name]
    assert step.stability_edge() == pytest.approx(edge)

    for factor, grows in ((0.99, False), (1.01, True)):
        curvature_ = factor * edge / step.rate
        phi, slots = torch.ones(1).double(), step.start(torch.ones(1).double())
        for k in range(3000):
            phi, slots = step(curvature_ * phi, phi, slots, k)
        assert (float(phi.abs()) > 1) == grows


def test_adams_edge_is_that_of_the_scaled_hessian():
    """Once the running square has converged, a tiny gradient meets a constant scale."""
    step = Adam(rate=0.1, beta2=1 - 1e-12)
    for factor, grows in ((0.97, False), (1.03, True)):
        slots = torch.zeros(1).double(), torch.full((1,), 1e-12, dtype=torch.float64)
        k = 10**13  # bias corrections are over
        scale = step.preconditioner(slots, k)
        sharp = factor * step.stability_edge() / (step.rate * scale)
        phi = torch.full((1,), 1e-9, dtype=torch.float64)
        for _ in range(1500):
            phi, slots = step(sharp * phi, phi, slots, k)
            slots = slots[0], torch.full((1,), 1e-12, dtype=torch.float64)
        assert (float(phi.abs()) > 1e-9) == grows


@pytest.mark.parametrize("product", [-0.5, 0.0, 0.3, 2.0, 3.5, 3.7])
def test_a_steps_growth_is_the_spectral_radius_of_its_recursion(product):
    momentum = Momentum(1.0, momentum=0.8)
    companion = np.array([[1 + 0.8 - product, -0.8], [1.0, 0.0]])

    found = momentum.spectral_radius(np.array([product]))

    assert found[0] == pytest.approx(np.abs(np.linalg.eigvals(companion)).max(), rel=1e-7)
    assert SGD(1.0).spectral_radius(np.array([product]))[0] == abs(1 - product)


def test_tasks_past_the_edge_are_counted_and_a_stable_rate_is_given():
    family = Quadratic(dim=5, shots=4, jitter=0.9)
    table, said = looked(of(family, MAML(12, SGD(1.4))), tasks=100)

    shares, stable = one(table, "past_edge", "start"), one(table, "stable_rate", "start", 0.95)
    assert 0.2 < shares.low < shares.value < shares.high < 0.9
    finding = said["inner_rate_unstable"]
    assert f"{100 * shares.value:.3g} %" in finding.claim
    assert f"{stable.value:.3g} [" in finding.claim
    assert "unstable over K = 12" in finding.claim
    assert "--set algo.inner_optimizer.rate" in finding.repair
    # and it is right: at the advised rate hardly a task is past it
    advised = float(finding.repair.partition("about ")[2].split()[0])
    again, _ = looked(of(family, MAML(12, SGD(advised))), tasks=100)
    assert one(again, "past_edge", "start").value <= 0.05


def test_far_below_the_edge_there_is_no_warning():
    _, said = looked(of(Quadratic(dim=5, jitter=0.1), MAML(3, SGD(0.1))), tasks=100)

    assert "inner_rate_unstable" not in said
    assert said["inner_rate_stable"].level == "info"
    assert "times larger" in said["inner_rate_stable"].repair


def test_curvature_that_is_nowhere_negative_is_reported_without_an_interval():
    table, said = looked(of(Quadratic(dim=4), MAML(1, SGD(0.05))))

    assert one(table, "negative_mass", "start")[4:7] == (0.0, None, None)
    assert said["curvature_spread"].claim.endswith("; 0 % of it is negative.")


def test_the_proximal_term_of_an_implicit_algorithm_shifts_the_spectrum():
    plain, _ = looked(of(SMALL, MAML(1)))
    pulled, _ = looked(of(SMALL, IMAML(1, proximal_strength=3.0)))

    for name in ("largest_eigenvalue", "smallest_eigenvalue"):
        shift = one(pulled, name, "start", 0.5).value - one(plain, name, "start", 0.5).value
        assert shift == pytest.approx(3.0, rel=1e-9)


def test_adam_is_judged_by_the_scaled_hessian_at_its_end():
    table, said = looked(of(SMALL, MAML(12, Adam(rate=0.01))), tasks=30)

    assert one(table, "edge").value == pytest.approx(38.0)
    assert not from_table(table, "past_edge", of="start")
    assert from_table(table, "past_edge", of="preconditioned")
    assert (
        "as scaled by the optimizer's step"
        in (said.get("inner_rate_unstable") or said["inner_rate_stable"]).claim
    )


def test_results_do_not_depend_on_the_chunk():
    tables = [looked(of(SMALL, MAML(1), chunk=chunk), exact=0)[0] for chunk in (5, 512)]

    for (_, one_), (_, other) in zip(tables[0].iterrows(), tables[1].iterrows(), strict=True):
        assert (one_.quantity, one_.of) == (other.quantity, other.of)
        if one_.quantity != "cumulative_density":  # how many nodes follows the slowest of a chunk
            assert one_.value == pytest.approx(other.value, rel=2e-2, abs=1e-6)


def own(loss, size=3, steps=2, rate=0.1, tasks=None):
    """A problem of one vector and a hand-written loss."""
    layout = Layout(("phi",), ((size,),))
    problem = Problem(lambda theta: theta, loss, loss, Layouts(layout, layout))

    def sample(indices, seed):
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(len(indices), 4, size)))
        return (x, x), (x, x)

    theta = torch.linspace(0.5, 1, size, dtype=torch.float64)
    return Subject(problem, Indexed(sample), MAML(steps, SGD(rate)), theta)


def test_no_curvature_gives_a_finding():
    table, said = looked(own(lambda phi, theta, data: (phi * data[0]).sum()), tasks=80)

    assert one(table, "largest_eigenvalue", "start", 0.5).value == 0
    assert one(table, "stable_rate", "start", 0.5).status == "unbounded"
    assert "no positive curvature" in said["no_curvature"].claim


def test_a_loss_that_does_not_depend_on_phi_has_no_curvature_either():
    subject = own(lambda phi, theta, data: (data[0] ** 2).sum() + 0 * phi.detach().sum())

    product = per_task_products.per_task_hvp(
        subject.problem.inner_loss,
        subject.theta.expand(2, -1),
        subject.theta,
        subject.draw(Address.fresh(0, 2), 0).support,
    )

    assert not product(torch.ones(2, 3).double()).any()


@pytest.mark.parametrize("exact", [0, 128])
def test_a_saddle_and_a_singular_direction_are_reported(exact):
    def loss(phi, theta, data):
        return 3 * phi[0] ** 2 - phi[1] ** 2 + 0 * phi[2] + 0 * data[0].sum()

    table, said = looked(own(loss), tasks=80, exact=exact)

    assert one(table, "largest_eigenvalue", "start", 0.5).value == pytest.approx(6.0)
    assert one(table, "smallest_eigenvalue", "start", 0.5).value == pytest.approx(-2.0)
    assert one(table, "negative_mass", "start").value == pytest.approx(0.25)
    assert one(table, "trace", "start").value == pytest.approx(4.0)
    assert not from_table(table, "condition_number", of="start")
    assert "median smallest eigenvalue -2" in said["negative_curvature"].claim


def test_dead_units_leave_zeros_and_nothing_breaks():
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        net[0].bias.fill_(-100.0)
    problem = Problem.from_module(net, lambda p, y: ((p - y) ** 2).mean())
    data = cases.tasks(80)

    def sample(address, seed):
        return tree_map(lambda leaf: leaf[torch.from_numpy(address.task)], data)

    subject = Subject(problem, sample, MAML(2), problem.theta)

    table, _ = looked(subject, tasks=80)

    found = one(table, "largest_eigenvalue", "start", 0.5)
    assert found.value == pytest.approx(1.0)  # of the last bias alone: mean over two outputs
    assert one(table, "effective_rank", "start").value == pytest.approx(2.0)


def test_diverged_loops_are_counted_as_past_every_edge():
    family = Sinusoid(hidden=(6, 5))
    table, said = looked(of(family, MAML(30, SGD(3.0)), torch.float32), tasks=80)

    lost = one(table, "diverged", "adapted")
    assert 0 < lost.value < 1
    assert one(table, "past_edge", "adapted").value >= lost.value
    assert one(table, "largest_eigenvalue", "adapted", 0.95).status == "diverged"
    assert not from_table(table, "trace", of="adapted")
    assert said["diverged"].level == "critical"
    assert "are not finite at the end of the inner loop" in said["diverged"].claim
    assert one(table, "largest_eigenvalue", "start", 0.5).value is not None


def test_no_inner_step_has_no_edge():
    table, said = looked(of(SMALL, MAML(0)))

    assert not from_table(table, "past_edge", of=None)
    assert not from_table(table, "largest_eigenvalue", of="adapted")
    assert "no inner step" in said["no_steps"].claim


@pytest.mark.parametrize("exact", [0, 128])
def test_one_task_gives_its_own_numbers_without_intervals_over_tasks(exact):
    subject = of(SMALL, MAML(1, SGD(0.05)))
    table, _ = looked(subject, tasks=1, exact=exact)

    (first,), _ = dense(subject, 1, 0, 0.0)
    values = torch.linalg.eigvalsh(first)
    found = one(table, "largest_eigenvalue", "start", 0.5)
    assert found.value == pytest.approx(float(values[-1]), rel=2e-2)
    assert found.high is None
    trace = one(table, "trace", "start")
    assert trace.low - 1e-9 <= float(values.sum()) <= trace.high + 1e-9


def test_one_parameter_is_a_number():
    table, _ = looked(own(lambda p, t, data: 2.5 * (p**2).sum() + 0 * data[0].sum(), size=1))

    for place in ("start", "adapted"):
        for name in ("largest_eigenvalue", "smallest_eigenvalue"):
            assert one(table, name, place, 0.5).value == pytest.approx(5.0)
        assert one(table, "condition_number", place, 0.5).value == pytest.approx(1.0)


def test_phi_and_theta_may_differ_in_size():
    subject = of(Ridge(), MAML(3, SGD(0.2)))
    table, _ = looked(subject)

    tasks = subject.draw(Address.fresh(0, 25), 0)
    tops = []
    for X in tasks.support[0]:
        Z = torch.cat([X, torch.ones_like(X[:, :1])], 1)
        penalty = torch.cat([subject.theta.exp(), torch.zeros(1).double()])
        tops.append(float(torch.linalg.eigvalsh(Z.T @ Z / len(Z) + torch.diag(penalty))[-1]))
    assert one(table, "largest_eigenvalue", "start", 0.5).value == pytest.approx(sorted(tops)[12])


def test_a_black_box_has_a_spectrum_where_its_loop_starts():
    black = BlackBox(lambda theta, task: (torch.zeros(()), dict(theta)))
    table, _ = looked(of(SMALL, black))

    assert one(table, "largest_eigenvalue", "start", 0.5).value > 0
    assert not from_table(table, "past_edge", of=None)


@pytest.mark.parametrize("algorithm", [MAML(2), MAML(2, Adam(1e-3)), MAML(0)])
def test_figures_are_drawn_from_the_table_alone(algorithm):
    from matplotlib.figure import Figure

    table, _ = looked(of(SMALL, algorithm), exact=0, nodes=10)
    for drawing in Spectrum().drawings(table):
        axes = Figure().subplots()
        drawing.draw(axes)
        assert axes.get_legend() is not None


def test_invalid_settings_are_refused():
    from metabench.settings.errors import InvalidInput

    for settings, words in (
        ({"tasks": 0}, "tasks is 0"),
        ({"tolerance": 0.0}, "tolerance is 0"),
        ({"nodes": 1}, "nodes is 1"),
        ({"exact": -1}, "exact is -1"),
    ):
        with pytest.raises(InvalidInput, match=words):
            Spectrum(**settings)
