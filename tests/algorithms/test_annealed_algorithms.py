"""Are algorithms whose settings or rates change in training trained as in their papers?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from metabench.algorithms.alpha_maml import AlphaMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.mamlpp import MAMLPP
from metabench.cli.main import main
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.quadratic import Quadratic
from metabench.outer_loop.optimizer_settings import OuterOptimizer
from metabench.outer_loop.trainer import Trainer
from metabench.problems.tasks import Address
from metabench.records.checksummed_tensors import read_checksummed
from metabench.settings.errors import InvalidInput

K, B, ALPHA, BETA = 3, 4, 0.1, 0.05
SMALL = ("train", "--family", "quadratic", "--set", "outer.held_out=16", "--quiet")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metabench(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def subject(algorithm):
    family = Quadratic(dim=4)
    return Subject(family.problem(), family.sample, algorithm, family.theta(0))


def trained(algorithm, outer, steps):
    trainer = Trainer(subject(algorithm), outer, steps)
    while trainer.step < steps:
        assert trainer.advance()
    return trainer


def batch_loss(n, theta, alpha, weights=(0, 0, 1), second=True):
    """The mean over step n's tasks of the weighted query losses, by a loop over tasks and k."""
    of = subject(MAML(K))
    tasks, total = of.draw(Address.fresh(n * B, B), 0), torch.zeros((), dtype=torch.float64)
    for i in range(B):
        support, query = (tuple(leaf[i] for leaf in part) for part in tasks[:2])
        phi = theta
        for weight in weights:
            loss = of.problem.inner_loss(phi, theta, support)
            (gradient,) = torch.autograd.grad(loss, phi, create_graph=True)
            phi = phi - alpha * (gradient if second else gradient.detach())
            total = total + weight * of.problem.outer_loss(phi, theta, query) / B
    return total


def test_mamlpp_anneals_loss_weights_and_derivative_order_by_the_epoch():
    algorithm = MAMLPP(
        steps=K, inner_optimizer=SGD(ALPHA), loss_epochs=3, first_order_epochs=2,
        learned_rates=False, per_step_norms=False,
    )  # fmt: skip
    outer = OuterOptimizer(optimizer="sgd", rate=BETA, batch=B, epoch=2, held_out=4)

    found = trained(algorithm, outer, 9).theta

    theta = subject(algorithm).theta.clone().requires_grad_()
    for n in range(9):
        epoch = n // 2
        earlier = max((1 - epoch / 3) / K, 0.03 / K) if epoch < 3 else 0.0
        weights = (earlier, earlier, 1 - 2 * earlier)
        loss = batch_loss(n, theta, ALPHA, weights, second=epoch >= 2)
        (gradient,) = torch.autograd.grad(loss, theta)
        theta = (theta - BETA * gradient).detach().requires_grad_()
    torch.testing.assert_close(found, theta.detach(), rtol=1e-11, atol=1e-13)


def test_without_annealing_the_same_training_ends_elsewhere():
    settings = {
        "steps": K,
        "inner_optimizer": SGD(ALPHA),
        "learned_rates": False,
        "per_step_norms": False,
    }
    outer = OuterOptimizer(optimizer="sgd", rate=BETA, batch=B, epoch=2, held_out=4)

    annealed = trained(MAMLPP(loss_epochs=2, **settings), outer, 6).theta
    held = trained(
        MAMLPP(loss_epochs=2, **settings), OuterOptimizer(**{**vars(outer), "epoch": 100}), 6
    )
    off = trained(MAMLPP(loss_epochs=0, **settings), outer, 6).theta
    maml = trained(MAML(K, SGD(ALPHA)), outer, 6).theta

    assert not torch.allclose(annealed, held.theta, rtol=1e-6)
    assert torch.equal(off, maml)


def test_an_epoch_that_changes_nothing_is_the_same_algorithm():
    algorithm = MAMLPP(loss_epochs=3, first_order_epochs=1)

    assert [algorithm.at_epoch(n).epoch for n in (0, 2, 3, 50)] == [0, 2, 3, 3]
    assert MAMLPP(loss_epochs=0, epoch=4).at_epoch(2).epoch == 4
    assert MAML().at_epoch(7) == MAML()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum"])
def test_alpha_maml_moves_both_rates_along_their_hypergradients(optimizer):
    alpha_rate, beta_rate = 1e-3, 1e-4
    algorithm = AlphaMAML(K, SGD(ALPHA), alpha_rate=alpha_rate, beta_rate=beta_rate)
    outer = OuterOptimizer(optimizer=optimizer, rate=BETA, batch=B, held_out=4)

    trainer = trained(algorithm, outer, 6)

    theta = subject(MAML(K)).theta.clone().requires_grad_()
    alpha = torch.tensor(ALPHA, dtype=torch.float64, requires_grad=True)
    beta, before, rates = BETA, None, []
    for n in range(6):
        gradient, along_alpha = torch.autograd.grad(batch_loss(n, theta, alpha), (theta, alpha))
        if before is not None:
            beta = beta + beta_rate * float(gradient @ before)
        rates.append(beta)
        old = before if optimizer == "momentum" and before is not None else 0 * gradient
        before = 0.9 * old + gradient
        theta = (theta - beta * before).detach().requires_grad_()
        alpha = (alpha - alpha_rate * along_alpha).detach().requires_grad_()
    torch.testing.assert_close(trainer.theta[:-1], theta.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(trainer.theta[-1], alpha.detach(), rtol=1e-11, atol=0)
    assert abs(trainer.theta[-1] - ALPHA) > 1e-3 * ALPHA
    assert [entry.rate for entry in trainer.log] == pytest.approx(rates, rel=1e-10)
    assert len(set(rates)) == 6


def test_the_outer_rates_gradient_is_that_of_the_next_loss():
    """d/d beta of L_1(theta_0 - beta g_0), by finite differences through the whole step."""
    algorithm = AlphaMAML(K, SGD(ALPHA), alpha_rate=0.0, beta_rate=1.0)
    outer = OuterOptimizer(optimizer="sgd", rate=BETA, batch=B, held_out=4)
    first, second = (entry.rate for entry in trained(algorithm, outer, 2).log)

    theta = subject(MAML(K)).theta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(batch_loss(0, theta, ALPHA), theta)

    def loss(beta):
        at = (theta - beta * gradient).detach().requires_grad_()
        return float(batch_loss(1, at, ALPHA).detach())

    h = 1e-5
    expected = first - (loss(first + h) - loss(first - h)) / (2 * h)
    assert second == pytest.approx(expected, rel=1e-7)


def test_hypergradient_rates_of_zero_leave_both_rates_unchanged():
    outer = OuterOptimizer(batch=B, held_out=4)
    still = trained(AlphaMAML(K, SGD(ALPHA), alpha_rate=0.0, beta_rate=0.0), outer, 5)
    maml = trained(MAML(K, SGD(ALPHA)), outer, 5)

    torch.testing.assert_close(still.theta[:-1], maml.theta, rtol=1e-12, atol=1e-14)
    assert torch.equal(still.theta[-1], torch.tensor(ALPHA, dtype=torch.float64))
    assert {entry.rate for entry in still.log} == {0.001}


def test_a_schedule_and_an_adapted_outer_rate_exclude_each_other():
    with pytest.raises(
        InvalidInput, match=r"set outer.schedule=constant and outer.warmup=0, or algo"
    ):
        Trainer(subject(AlphaMAML()), OuterOptimizer(schedule="cosine"), 5)


@pytest.mark.parametrize("algorithm", [MAMLPP(2, loss_epochs=3), AlphaMAML(2)])
def test_a_training_in_two_halves_ends_where_one_in_one_go_does(algorithm):
    outer = OuterOptimizer(batch=B, epoch=2, held_out=4)
    first, second = trained(algorithm, outer, 5), Trainer(subject(algorithm), outer, 9)
    second.restore(*first.state())
    while second.step < 9:
        assert second.advance()

    whole = trained(algorithm, outer, 9)

    assert torch.equal(second.theta, whole.theta)
    assert [e[:-1] for e in second.log] == [e[:-1] for e in whole.log]  # except seconds


def test_a_snapshot_records_the_epoch_that_training_reached():
    metabench(
        *SMALL,
        "--algo",
        "mamlpp",
        "--steps",
        5,
        "--set",
        "outer.epoch=2",
        "--save",
        "t.safetensors",
    )

    about = read_checksummed(Path("t.safetensors")).about
    assert about["algo"]["epoch"] == 2
    assert about["spec"]["algo"]["epoch"] == 0


def test_a_replay_repeats_the_epoch_at_which_training_stopped():
    wild = ("--set", "outer.optimizer=sgd", "--set", "outer.rate=1e5", "--set", "outer.explode=10")
    result = metabench(
        *SMALL, "--algo", "mamlpp", "--set", "outer.epoch=2", "--steps", 90, *wild,
        "--save", "t.safetensors",
    )  # fmt: skip
    replayed = metabench("replay", "t.replay.safetensors", "--json")

    assert (result.exit_code, replayed.exit_code) == (3, 0), replayed.output
    stopped = int(read_checksummed(Path("t.replay.safetensors")).tensors["steps"][-1])
    assert json.loads(replayed.stdout)["spec"]["algo"]["epoch"] == min(stopped // 2, 15) > 0
