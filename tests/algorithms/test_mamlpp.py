"""Is MAML++ that of the paper, for every combination of pieces, and MAML with all off?"""

from __future__ import annotations

import itertools
from dataclasses import replace

import cases
import oracles
import pytest
import torch

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.mamlpp import MAMLPP
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.problems.samplers import Indexed
from metabench.problems.tasks import tree_map
from metabench.settings.errors import InvalidInput

K, RATE = 3, 0.1


def setting(kind="batch norm"):
    problem = cases.problem(kind)
    return problem, cases.theta(problem), cases.one(cases.tasks(1), 0)


def trained(algorithm, problem, theta, seed=7):
    """The longer problem, with learned parts away from where they start, some rates negative."""
    longer, started = algorithm.extend(problem, theta)
    generator = torch.Generator().manual_seed(seed)
    away = 0.2 * torch.randn(len(started), generator=generator, dtype=torch.float64)
    away[: len(theta)] = 0
    return longer, started + away


def by_hand(algorithm, problem, longer, theta, task, weights, second=True):
    """By parameter name, with torch.autograd through a plain loop over the paper's equations."""
    leaf = theta.clone().requires_grad_()
    parts = longer.layouts.theta.unflatten(leaf)
    layout, norms = problem.layouts.phi, problem.norms if algorithm.per_step_norms else ()
    phi = {name: parts[name] for name in layout.names}

    def loss(of, phi, k, data):
        at_step = {n: v + parts[f"norm.{n}"][k] if n in norms else v for n, v in phi.items()}
        return of(layout.flatten(at_step), leaf[: problem.layouts.theta.size], data)

    total = torch.zeros((), dtype=torch.float64)
    for k in range(K):
        gradients = torch.autograd.grad(
            loss(problem.inner_loss, phi, k, task.support), list(phi.values()), create_graph=second,
            retain_graph=True,
        )  # fmt: skip
        moving = {}
        for (name, value), gradient in zip(phi.items(), gradients, strict=True):
            rate = parts[f"rate.{name}"][k] if algorithm.learned_rates else RATE
            moving[name] = value if name in norms else value - rate * gradient
        phi = moving
        total = total + weights[k] * loss(problem.outer_loss, phi, k, task.query)
    (gradient,) = torch.autograd.grad(total, leaf, materialize_grads=True, allow_unused=True)
    last = loss(problem.outer_loss, phi, K - 1, task.query)
    return gradient, float(last.detach()), float(total.detach())


PIECES = list(itertools.product([False, True], repeat=4))


@pytest.mark.parametrize(("rates", "norms", "multi", "second"), PIECES)
def test_every_combination_of_pieces_is_the_papers_equations_by_autograd(
    rates, norms, multi, second
):
    problem, theta, task = setting()
    algorithm = MAMLPP(
        steps=K, inner_optimizer=SGD(rate=RATE), learned_rates=rates, per_step_norms=norms,
        loss_epochs=4 if multi else 0, epoch=1, first_order_epochs=0 if second else 9,
    )  # fmt: skip
    longer, at = trained(algorithm, problem, theta)
    weights = (1 / 4, 1 / 4, 1 / 2) if multi else (0, 0, 1)

    found = algorithm(longer, at, task)

    expected, last, total = by_hand(algorithm, problem, longer, at, task, weights, second)
    assert oracles.relative(found.grad, expected) < 1e-12
    assert float(found.loss) == pytest.approx(last, rel=1e-13)
    assert float(algorithm.objective(longer, at, task)) == pytest.approx(last, rel=1e-13)
    assert float(algorithm.differentiated(longer, at, task)) == pytest.approx(total, rel=1e-13)
    assert algorithm.exact is second


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_every_piece_off_is_maml_to_the_bit(kind, step):
    problem, theta, task = setting(kind)
    off = MAMLPP(
        steps=K, inner_optimizer=step, loss_epochs=0, learned_rates=False, per_step_norms=False
    )

    longer, at = off.extend(problem, theta)
    found = off(longer, at, task)

    expected = MAML(steps=K, inner_optimizer=step)(problem, theta, task)
    assert longer is problem
    assert torch.equal(found.grad, expected.grad)
    assert torch.equal(found.loss, expected.loss)


@pytest.mark.parametrize(
    "on", ["loss_epochs", "learned_rates", "per_step_norms", "first_order_epochs"]
)
def test_each_piece_alone_changes_the_meta_gradient(on):
    problem, theta, task = setting()
    off = {"loss_epochs": 0, "learned_rates": False, "per_step_norms": False}
    alone = MAMLPP(
        steps=K, inner_optimizer=SGD(rate=RATE), **{**off, on: 5 if "epochs" in on else True}
    )

    found = alone(*alone.extend(problem, theta), task).grad[: len(theta)]

    maml = MAML(steps=K, inner_optimizer=SGD(rate=RATE))(problem, theta, task).grad
    same = oracles.relative(found, maml)
    # rates that are learned begin where maml's are
    assert (same < 1e-12) if on == "learned_rates" else (same > 1e-3)


@pytest.mark.parametrize("step", cases.STEPS.values(), ids=cases.STEPS.keys())
def test_finite_differences_agree_with_any_inner_step(step):
    problem, theta, task = setting()
    algorithm = MAMLPP(steps=2, inner_optimizer=step)
    longer, at = algorithm.extend(problem, theta)
    generator = torch.Generator().manual_seed(3)
    along = torch.randn(len(at), generator=generator, dtype=torch.float64)

    found = float(algorithm(longer, at, task).grad @ along)

    difference = oracles.directional(
        lambda x: float(algorithm.differentiated(longer, x, task)), at, along, h=1e-4
    )
    assert found == pytest.approx(difference, rel=1e-6)


@pytest.mark.parametrize(
    ("epoch", "weights"),
    [
        (0, (0.2,) * 5),  # 1 / K
        (5, (0.1, 0.1, 0.1, 0.1, 0.6)),  # half of E: (1 - 1/2) / K
        (9, (0.02, 0.02, 0.02, 0.02, 0.92)),  # 1 / (K E) less each epoch
        (10, (0.0, 0.0, 0.0, 0.0, 1.0)),
    ],
)
def test_the_weights_fall_as_the_paper_anneals_them(epoch, weights):
    found = MAMLPP(steps=5, loss_epochs=10, epoch=epoch).weights

    assert found == pytest.approx(weights, abs=1e-15)


def test_earlier_weights_stop_at_the_floor():
    found = MAMLPP(steps=5, loss_epochs=1000, epoch=999, floor=0.03).weights

    assert found == pytest.approx((0.006,) * 4 + (0.976,), abs=1e-15)


def test_the_parts_that_are_learned_have_names_and_a_step_axis():
    problem, theta, _ = setting()

    longer, _ = MAMLPP(steps=K).extend(problem, theta)

    layout = longer.layouts.theta
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    assert shapes["rate.0.weight"] == (K,)
    assert shapes["norm.1.weight"] == shapes["norm.1.bias"] == (K, 6)
    assert longer.base is problem


def test_without_inner_steps_it_is_the_query_gradient():
    problem, theta, task = setting()
    algorithm = MAMLPP(steps=0)
    longer, at = algorithm.extend(problem, theta)

    found = algorithm(longer, at, task)

    expected = MAML(steps=0)(problem, theta, task)
    torch.testing.assert_close(found.grad[: len(theta)], expected.grad, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("settings", "words"), [({"epoch": -1}, "epoch is -1"), ({"floor": 2.0}, "floor is 2")]
)
def test_invalid_epochs_are_rejected(settings, words):
    with pytest.raises(InvalidInput, match=words):
        MAMLPP(**settings)


CHANNELS = 6


def by_torchs_own_norm(theta, longer, task, statistics, shifts):
    """A loop with torch's batch norm, a module a step: (loss, what its buffers become)."""
    leaf = theta.clone().requires_grad_()
    parts = longer.layouts.theta.unflatten(leaf)
    phi = {name: parts[name] for name in longer.layouts.phi.names}
    buffers = []

    def loss(phi, k, data, norm):
        x, y = data
        scale, shift = (phi[f"1.{n}"] + (parts[f"norm.1.{n}"][k] if shifts else 0)
                        for n in ("weight", "bias"))  # fmt: skip
        x = torch.nn.functional.linear(x, phi["0.weight"], phi["0.bias"])
        if statistics == "running":
            norm.train()(x.detach())
            mean, variance = parts["running.1.mean"][k], parts["running.1.variance"][k]
            fixed = [held.detach() for held in (mean, variance, scale, shift)]
            expected = torch.nn.functional.batch_norm(x.detach(), *fixed, training=False)
            x = (x - mean) / (variance + norm.eps).sqrt() * scale + shift
            # torch's own, which it doesn't differentiate in the running statistics
            torch.testing.assert_close(x.detach(), expected, rtol=1e-12, atol=1e-14)
        else:
            x = norm.train()(x) * scale + shift
        p = torch.nn.functional.linear(torch.tanh(x), phi["3.weight"], phi["3.bias"])
        return ((p - y) ** 2).mean()

    def fresh(k):
        norm = torch.nn.BatchNorm1d(CHANNELS, affine=False).double()
        norm.running_mean.copy_(parts["running.1.mean"][k].detach())
        norm.running_var.copy_(parts["running.1.variance"][k].detach())
        return norm

    for k in range(K):
        norm = fresh(k)
        gradients = torch.autograd.grad(
            loss(phi, k, task.support, norm), list(phi.values()), create_graph=True
        )
        buffers.append((norm.running_mean, norm.running_var))
        moving = zip(phi.items(), gradients, strict=True)
        phi = {n: v if shifts and n.startswith("1.") else v - RATE * g for (n, v), g in moving}
    last = loss(phi, K - 1, task.query, fresh(K - 1))
    (gradient,) = torch.autograd.grad(last, leaf, materialize_grads=True, allow_unused=True)
    means, variances = (torch.stack(kind) for kind in zip(*buffers, strict=True))
    return gradient, last.detach(), torch.cat([means.reshape(-1), variances.reshape(-1)])


@pytest.mark.parametrize("statistics", ["collect", "running"])
@pytest.mark.parametrize("shifts", [False, True])
def test_running_statistics_of_each_step_are_those_of_torchs_batch_norm(statistics, shifts):
    problem, theta, task = setting()
    algorithm = MAMLPP(
        steps=K, inner_optimizer=SGD(RATE), loss_epochs=0, learned_rates=False,
        per_step_norms=shifts, statistics=statistics,
    )  # fmt: skip
    longer, at = trained(algorithm, problem, theta)
    at = longer.layouts.theta.flatten(
        {n: v.abs() + 0.3 if "variance" in n else v
         for n, v in longer.layouts.theta.unflatten(at).items()}
    )  # fmt: skip

    found = algorithm(longer, at, task)

    gradient, last, becomes = by_torchs_own_norm(at, longer, task, statistics, shifts)
    updates = algorithm.custom_updates(longer)
    parts = longer.layouts.theta.unflatten(at)
    held = torch.cat([parts[name].reshape(-1) for name in updates.averages])
    moved = held + updates.share * (found.notes["batch_statistics"] - held)
    assert oracles.relative(found.grad, gradient) < 1e-12
    torch.testing.assert_close(found.loss, last, rtol=1e-13, atol=0)
    torch.testing.assert_close(moved, becomes, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", ["plain", "batch norm", "layer norm"])
def test_collecting_statistics_does_not_change_the_meta_gradient(kind):
    problem, theta, task = setting(kind)
    settings = {"steps": K, "inner_optimizer": SGD(RATE), "loss_epochs": 0, "learned_rates": False}
    gathering = MAMLPP(**settings, per_step_norms=False, statistics="collect")
    longer, at = gathering.extend(problem, theta)

    found = gathering(longer, at, task).grad

    maml = MAML(steps=K, inner_optimizer=SGD(RATE))(problem, theta, task).grad
    assert torch.equal(found[: len(theta)], maml)
    assert not found[len(theta) :].any()
    assert len(at) - len(theta) == (2 * K * CHANNELS if kind == "batch norm" else 0)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    "outer", [OuterOptimizer(batch=3), OuterOptimizer("sgd", batch=3, clip_norm=1e-3)]
)
def test_training_moves_running_statistics_to_the_tasks_mean_and_nothing_else_does(outer, plain):
    problem, theta, _ = setting()
    problem = problem.unfused() if plain else problem
    many = cases.tasks(30)
    algorithm = MAMLPP(steps=2, statistics="running", momentum=0.25)
    subject = Subject(problem, Indexed(lambda rows, seed: tree_map(lambda v: v[rows], many)),
                      algorithm, theta, Vectorization("vmap"))  # fmt: skip
    trainer = Trainer(subject, replace(outer, held_out=3), steps=2)
    assert trainer.advance()
    assert trainer.advance()

    at, names = subject.theta, algorithm.custom_updates(subject.problem).averages
    segments = dict(subject.problem.layouts.theta.segments())
    means, norm = at.clone(), 0.0
    for n in range(2):
        tasks = [cases.one(many, 3 + 3 * n + i) for i in range(3)]
        found = [algorithm(subject.problem, at, task) for task in tasks]
        shown = torch.stack([one.notes["batch_statistics"] for one in found]).mean(0)
        gradient = torch.stack([one.grad for one in found]).mean(0)
        start = 0
        for name in names:
            part = segments[name]
            seen = shown[start : start + part.stop - part.start]
            means[part] = 0.75 * means[part] + 0.25 * seen
            start += len(seen)
            gradient[part] = 0
        norm = float(gradient.norm())
        assert trainer.log[n].norm == pytest.approx(norm, rel=1e-12)
        if n == 0:  # where the first step led
            first = Trainer(subject, replace(outer, held_out=3), steps=2)
            first.advance()
            at = first.theta.clone()
            moved = torch.cat([at[segments[name]] - means[segments[name]] for name in names])
            assert float(moved.abs().max()) < 1e-14
    final = torch.cat([trainer.theta[segments[name]] - means[segments[name]] for name in names])
    assert float(final.abs().max()) < 1e-14


def test_unknown_statistics_are_rejected():
    with pytest.raises(InvalidInput, match="must be one of batch, collect, running"):
        MAMLPP(statistics="rolling")
    with pytest.raises(InvalidInput, match="momentum is 2"):
        MAMLPP(momentum=2.0)
