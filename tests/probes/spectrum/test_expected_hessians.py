"""Are expected Hessians, the meta-Hessian, the adaptation map and CG's convergence right?"""

from __future__ import annotations

import cases
import numpy as np
import oracles
import pytest
import torch
from looks import SMALL, looked, of, one
from torch import nn

from metabench.algorithms.anil import ANIL
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.inner_optimizers.adam import Adam
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.meta_sgd import MetaSGD
from metabench.autodiff import per_task_products
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.linalg.expected_spectrum import spectrum_ends_of_mean
from metabench.linalg.solvers.cg import CG
from metabench.linalg.spectra import Effort
from metabench.probes.spectrum import Spectrum
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, tree_map
from metabench.records.rows import from_table, to_table

EFFORT = Effort(1e-10, 60, 0, 0)


def signs(Q: int) -> torch.Tensor:
    return torch.randint(2, (2, Q), generator=torch.Generator().manual_seed(0)).double() * 2 - 1


def stacked_products(matrices: torch.Tensor, sizes: list[int]):
    parts = matrices.split(sizes)
    return [lambda v, part=part: part @ v for part in parts]


def test_the_ends_of_a_mean_are_those_of_the_dense_mean():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20, 12, 12, generator=generator, dtype=torch.float64)
    matrices = torch.diag(torch.linspace(-3, 5, 12).double()) + (noise + noise.mT) / 2

    found = spectrum_ends_of_mean(stacked_products(matrices, [10, 10]), [10, 10], signs(12), EFFORT)

    values = torch.linalg.eigvalsh(matrices.mean(0))
    assert found.converged
    assert found.largest.value == pytest.approx(float(values[-1]), rel=1e-8)
    assert found.smallest.value == pytest.approx(float(values[0]), rel=1e-8)
    for interval in found[:2]:
        assert interval.low < interval.value < interval.high


def test_the_interval_holds_the_expected_end_though_the_mean_is_biased():
    """The largest eigenvalue of the mean is above the truth nearly always; its interval isn't."""
    generator = torch.Generator().manual_seed(2)
    truth = torch.diag(torch.linspace(0, 1, 10).double())
    above = inside = 0
    for _ in range(150):
        noise = torch.randn(24, 10, 10, generator=generator, dtype=torch.float64)
        matrices = truth + (noise + noise.mT) / 2
        found = spectrum_ends_of_mean(
            stacked_products(matrices, [12, 12]), [12, 12], signs(10), EFFORT
        ).largest
        above += found.value > 1
        inside += found.low <= 1 <= found.high

    assert above > 140
    assert inside >= 140


def test_few_tasks_have_no_interval():
    found = spectrum_ends_of_mean(
        stacked_products(torch.eye(3).double().expand(4, 3, 3), [2, 2]), [2, 2], signs(3), EFFORT
    )

    assert found.largest.value == pytest.approx(1.0)
    assert found.largest.high == float("inf")


def layer_norm_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net


def outer_subject(kind: str, algorithm) -> Subject:
    net = layer_norm_net() if kind == "layer norm" else cases.net(kind)
    problem = Problem.from_module(net, lambda p, y: ((p - y) ** 2).mean())
    data = cases.tasks(10)
    return Subject(problem, lambda address, seed: _rows(data, address), algorithm, problem.theta)


def _rows(data, address):
    return tree_map(lambda leaf: leaf[torch.from_numpy(address.task)], data)


def dense_meta(subject: Subject, algorithm) -> torch.Tensor:
    """The mean meta-Hessian by differences of our meta-gradient, good to 1e-7 of its size."""
    address, Q = Address.fresh(0, 10), len(subject.theta)

    def slope(theta):
        return subject.at(theta).meta_gradients(address, 0).grad.mean(0)

    def central(e, h):
        return (slope(subject.theta + h * e) - slope(subject.theta - h * e)) / (2 * h)

    rows = [central(e, 1e-6) for e in torch.eye(Q).double()]
    matrix = torch.stack(rows)
    return (matrix + matrix.T) / 2


META = {
    "plain": ("plain", MAML(2, SGD(0.1))),
    "momentum-like adam": ("plain", MAML(2, Adam(0.01, eps=1e-3))),
    "through layer norm": ("layer norm", MAML(2, SGD(0.1))),
    "learned rates": ("plain", MetaSGD(2, SGD(0.1))),
    "the head alone": ("plain", ANIL(2, SGD(0.1))),
}


@pytest.mark.parametrize("name", META)
def test_the_meta_hessian_is_that_of_finite_differences(name):
    kind, algorithm = META[name]
    subject = outer_subject(kind, algorithm)

    table, _ = looked(subject, tasks=10, meta=10, tolerance=1e-9)

    matrix = dense_meta(subject, algorithm)
    values = torch.linalg.eigvalsh(matrix)
    size = float(values.abs().max())
    for end, i in (("largest", -1), ("smallest", 0)):
        found = one(table, f"{end}_eigenvalue", "meta").value
        assert found == pytest.approx(float(values[i]), abs=2e-6 * size)
    trace = one(table, "trace", "meta")
    assert trace.low <= float(matrix.trace()) <= trace.high


def test_the_fused_kernels_would_have_been_wrong_there():
    """Else the test through layer norm could not fail."""
    subject = outer_subject("layer norm", MAML(2, SGD(0.1)))
    problem, algorithm = subject.problem, subject.algorithm
    tasks = subject.draw(Address.fresh(0, 10), 0)
    points = subject.theta.expand(10, -1)

    def value(at, task):
        return algorithm.objective(problem, at, task)

    product = per_task_products.per_task_hvp_of(value, points, tasks)
    v = torch.randn(len(subject.theta), generator=torch.Generator().manual_seed(0)).double()

    assert (
        oracles.relative(product(v.expand(10, -1)).mean(0), dense_meta(subject, algorithm) @ v)
        > 1e-3
    )


def test_a_problem_whose_fused_norms_cannot_be_replaced_is_reported():
    subject = outer_subject("layer norm", MAML(2, SGD(0.1)))
    subject = Subject(
        subject.problem._replace(unfused=None), subject.sample, subject.algorithm, subject.theta
    )

    table, _ = looked(subject, tasks=10, meta=10)

    (row,) = from_table(table, "unavailable", of=None)
    assert "metabench.safe_norms(net)" in row.of
    assert not from_table(table, "largest_eigenvalue", of="meta")


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_the_maps_singular_values_are_those_of_its_dense_jacobian(how):
    subject = of(SMALL, MAML(3, SGD(0.05)), batching=how)
    table, _ = looked(subject, tasks=5, meta=5, exact=0, tolerance=1e-10, nodes=2)

    tasks = subject.draw(Address.fresh(0, 5), 0)
    tops = []
    for i in range(5):
        task = cases.one(tasks, i)

        def end(theta, task=task):
            phi = subject.problem.init(theta)
            for _ in range(3):
                slope = torch.func.grad(subject.problem.inner_loss)(phi, theta, task.support)
                phi = phi - 0.05 * slope
            return phi

        jacobian = torch.func.jacrev(end)(subject.theta)
        tops.append(float(torch.linalg.svdvals(jacobian)[0]))
    found = one(table, "largest_singular_value", "map", at=0.5)
    assert found.value == pytest.approx(sorted(tops)[2], rel=1e-8)


def test_a_loop_over_tasks_gives_what_vmap_gives():
    tiny = Sinusoid(hidden=(4,))
    tables = [
        looked(of(tiny, MAML(1), batching=how), tasks=9, meta=9)[0] for how in ("vmap", "loop")
    ]

    for (_, one_), (_, other) in zip(tables[0].iterrows(), tables[1].iterrows(), strict=True):
        if one_.quantity != "cumulative_density":  # its grid lies on the eigenvalues themselves
            assert one_.value == pytest.approx(other.value, rel=1e-6, abs=1e-8)


def test_the_outer_edge_on_quadratics_is_the_closed_form():
    """Equal curvatures in support and query, none random: 2 / max l (1 - a l)^2K."""
    family = Quadratic(dim=6, jitter=0.0, condition=20.0)
    table, said = looked(
        of(family, MAML(3, SGD(0.8))), tasks=12, meta=12, outer_rate=100.0, tolerance=1e-9
    )

    curved = family.curvatures
    outer = curved * (1 - 0.8 * curved) ** 6
    critical = 2 / outer.max()
    found = one(table, "stable_outer_rate")
    assert found.value == pytest.approx(critical, rel=1e-9)
    assert "above that" in said["outer_rate_unstable"].claim
    _, said = looked(of(family, MAML(3, SGD(0.8))), tasks=12, outer_rate=0.9 * critical)
    assert "is below that" in said["outer_rate"].claim
    # the edge is real: plain outer descent on the expected loss grows beyond it, and only there
    for beta, grows in ((0.99 * critical, False), (1.01 * critical, True)):
        factor = np.abs(1 - beta * outer).max()
        assert (factor > 1) == grows


def test_the_mean_of_hessians_has_the_trace_of_the_mean_task():
    table, _ = looked(of(SMALL, MAML(1)), tasks=60, meta=60, exact=0, nodes=5)

    mean, each = one(table, "trace", "mean"), one(table, "trace", "start")
    assert mean.low <= each.value <= mean.high
    assert one(table, "largest_eigenvalue", "mean").value > 0


def test_conjugate_gradients_converge_no_slower_than_their_bound():
    family = Quadratic(dim=12, condition=30.0)
    algorithm = IMAML(20, SGD(0.5), proximal_strength=0.3, solver=CG(steps=6))
    table, said = looked(of(family, algorithm))

    for step in range(7):
        measured = one(table, "cg_residual", "measured", at=step).value
        assert measured <= one(table, "cg_residual", "bound", at=step).value + 1e-12
    assert one(table, "residual", "measured").value < 0.1
    assert (said.get("solved") or said["unsolved"]).claim.startswith("After 6 steps")
    axes_drawn = [drawing.title for drawing in Spectrum().drawings(table)]
    assert any("conjugate gradients" in title for title in axes_drawn)


def test_an_indefinite_system_gets_a_warning_with_the_proximal_strength_that_repairs_it():
    _, said = looked(of(SMALL, IMAML(1, SGD(0.01), proximal_strength=0.1)), tasks=60)

    finding = said["indefinite"]
    assert finding.level == "warning"
    more = float(finding.repair.partition("by ")[2].split()[0])
    again, after = looked(of(SMALL, IMAML(1, SGD(0.01), proximal_strength=0.1 + more)), tasks=60)
    assert "indefinite" not in after
    assert one(again, "negative_curvature", "adapted").value == 0


def test_a_diverged_outer_loss_is_reported():
    subject = of(SMALL, MAML(30, SGD(30.0)), torch.float32)
    table = to_table(Spectrum(tasks=10, layers=0).measure(subject, seed=0))

    assert one(table, "largest_eigenvalue", "meta").status == "diverged"
    assert one(table, "largest_singular_value", "map").status == "diverged"
    assert Spectrum().find(table)[0].level == "critical"


def test_learned_rates_are_judged_by_the_hessian_they_scale():
    subject = of(SMALL, MetaSGD(1, SGD(0.05)))
    plain, _ = looked(of(SMALL, MAML(1, SGD(0.05))))
    table, _ = looked(subject)

    scaled = one(table, "past_edge", "preconditioned")
    assert scaled.value == pytest.approx(one(plain, "past_edge", "adapted").value)
    negative = subject.at(torch.cat([subject.theta[:-1], -subject.theta[-1:].abs() - 0.1]))
    rows, _ = looked(negative)
    assert any("rates are negative" in row.of for row in from_table(rows, "unavailable", of=None))
