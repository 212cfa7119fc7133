"""Is a step that is compiled as a whole the step that torch's optimizer takes apart from it?"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from metabench.algorithms.alpha_maml import AlphaMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.algorithms.mamlpp import MAMLPP
from metabench.autodiff import compilation
from metabench.cli.main import main
from metabench.estimation.estimator_on_tasks import Subject
from metabench.estimation.vectorization import Vectorization
from metabench.families.quadratic import Quadratic
from metabench.outer_loop.mean_gradient import mean_gradients
from metabench.outer_loop.optimizer_settings import OPTIMIZERS, OuterOptimizer
from metabench.outer_loop.outer_step import CompiledStep, EagerStep, update_function
from metabench.outer_loop.task_stream import TaskStream
from metabench.outer_loop.theta_update import ThetaUpdate
from metabench.outer_loop.trainer import Trainer
from metabench.problems import random_numbers
from metabench.problems.networks.norm_layers import safe_norms
from metabench.problems.problem import Problem

# torch's own, of its compiler
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def subject(how="compile", algorithm=None, dtype=torch.float64):
    family = Quadratic(dim=4)
    theta = family.theta(0).to(dtype)
    algorithm = algorithm or MAML(2, SGD(0.1))
    return Subject(family.problem(), family.sample, algorithm, theta, Vectorization(engine=how))


def trained(of, outer, steps, total=20):
    trainer = Trainer(of, outer, total)
    while trainer.step < steps:
        assert trainer.advance()
    return trainer


def close(one, other, tolerance):
    """Compare all that the next step depends on."""
    (tensors, plain), (others, plain_too) = one.state(), other.state()
    assert plain == plain_too
    assert tensors.keys() == others.keys()
    for name in tensors.keys() - {"log"}:
        torch.testing.assert_close(tensors[name], others[name], rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(one.log, other.log, strict=True):
        assert mine[:4] == pytest.approx(theirs[:4], rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("clips", [{}, {"clip_norm": 0.3}, {"clip_value": 0.05},
                                   {"clip_norm": 0.2, "clip_tasks": True}])  # fmt: skip
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_whole_step_is_torchs_step_on_the_mean_meta_gradient(name, clips):
    of = subject()
    outer = OuterOptimizer(
        name, rate=0.03, batch=3, weight_decay=0.1, momentum=0.8, held_out=4, **clips
    )
    feed = TaskStream(of, 0, outer.batch)
    parts = mean_gradients(
        replace(of, compute=Vectorization(engine="eager")), outer, feed(0, 1).tasks, 9
    )
    own = of.algorithm.custom_updates(of.problem)
    movers = [ThetaUpdate(of.theta, of.problem.layouts.theta, outer, 9, own) for _ in range(2)]
    apart, ring = EagerStep(parts), Trainer(of, outer, 9).ring

    for step in range(6):
        batch = feed(step, 9)
        loss, norm, accept = apart(step, batch, movers[0], ring)
        rate, clipped = accept()
        if step == 0:
            apart(0, batch, movers[1], ring)[-1]()
            continue
        held = movers[1].update_state
        gradient, reported, _ = parts.means()(held[0], batch.tasks)
        move = update_function(outer, movers[1].slots)
        movers[1].take_over(move(held, torch.tensor(0.03, dtype=torch.float64), gradient))
        assert reported.tolist() == pytest.approx([loss, norm, clipped])

    assert (rate, clipped) == (pytest.approx(0.03), bool(clips))
    (one, plain), (other, plain_too) = (mover.state() for mover in movers)
    assert plain == plain_too
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("settings", [{}, {"schedule": "cosine", "warmup": 3, "clip_norm": 0.3}])
def test_a_compiled_training_is_the_eager_one_to_round_off(settings):
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4, **settings)

    fast, plain = (trained(subject(how), outer, 9) for how in ("compile", "eager"))

    assert isinstance(fast._outer_step, CompiledStep)
    close(fast, plain, 1e-9)


@pytest.mark.parametrize("rate", [1e-9, 1.0, 1e4])
def test_a_small_gradient_beside_a_large_theta_moves_it_as_far_as_torch_does(rate):
    theta, gradient = torch.full((4,), 8.0), torch.full((4,), 1e-5)

    (moved,) = update_function(OuterOptimizer("sgd", rate=1.0), ())(
        [theta], torch.tensor(rate).double(), gradient
    )

    torch.testing.assert_close(moved, theta - rate * gradient, rtol=1e-7, atol=0)


def test_round_off_in_a_gradient_that_is_zero_does_not_stop_a_training_from_being_compiled():
    """A bias ahead of batch norm has no slope, and Adam makes a whole move of its round-off."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), safe_norms(torch.nn.BatchNorm1d(3)),
                              torch.nn.Tanh(), torch.nn.Linear(3, 1))  # fmt: skip
    problem = Problem.from_module(net, lambda found, y: ((found - y) ** 2).mean())

    def sample(address, seed):
        x = (
            torch.from_numpy(random_numbers.uniform(seed, "support", address, 12))
            .reshape(-1, 6, 2)
            .float()
        )
        return (x, x.prod(2, True)), (1 - x, x.sum(2, True))

    of = Subject(
        problem,
        sample,
        MAML(1, SGD(0.1)),
        problem.theta.float(),
        Vectorization("vmap", 512, "compile"),
    )
    trainer = trained(of, OuterOptimizer(rate=0.01, batch=3, held_out=4), 4)

    assert trainer._outer_step._step is not None


def test_adam_corrects_its_bias_in_float64_though_theta_is_float32():
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4)

    fast, plain = (trained(subject(how, dtype=torch.float32), outer, 4)
                   for how in ("compile", "eager"))  # fmt: skip

    moved = plain.theta - plain.subject.theta
    # 1 - 0.999^2 in float32 is off by 3e-5: that would move theta by as much
    assert float((fast.theta - plain.theta).norm() / moved.norm()) < 3e-6


def test_looking_at_theta_on_the_way_and_going_on_elsewhere_leave_the_bits():
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4, schedule="step", period=4)
    straight = trained(subject(), outer, 12)

    looked = trained(subject(), outer, 5)
    torch.func.grad(lambda theta: (theta**2).sum())(looked.theta)  # no inference tensor
    elsewhere = Trainer(subject(), outer, 20)
    elsewhere.restore(*copy.deepcopy(looked.state()))
    for trainer in (looked, elsewhere):
        while trainer.step < 12:
            assert trainer.advance()
        assert torch.equal(trainer.theta, straight.theta)


def test_the_order_in_which_a_file_keeps_the_optimizers_tensors_is_nothing_to_a_compiled_step():
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4)
    first = trained(subject(), outer, 5)
    tensors, plain = copy.deepcopy(first.state())

    other = first.with_seed(0)
    other.restore(dict(reversed(tensors.items())), plain)
    for trainer in (first, other):
        while trainer.step < 9:
            assert trainer.advance()

    assert torch.equal(other.theta, first.theta)


def test_a_step_that_fails_leaves_theta_and_what_a_replay_needs():
    outer = OuterOptimizer("sgd", rate=1e200, batch=3, held_out=4, explode=math.inf)
    trainer = Trainer(subject(), outer, 20)
    before = trainer.theta.clone()

    while trainer.advance():
        before = trainer.theta.clone()

    assert trainer.failure.kind == "diverged"
    assert torch.equal(trainer.theta, before)
    assert torch.equal(trainer.ring.snapshots[-1].theta, before)
    assert {row.quantity for row in trainer.examine()} == {"stopped", "began"}


def test_rates_and_schedules_share_one_compiled_step_and_nothing_else_does(monkeypatch):
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4)
    first = trained(subject(), outer, 3)

    other = first.with_seed(1, replace(outer, rate=0.01, schedule="cosine"))
    clipped = first.with_seed(1, replace(outer, clip_norm=0.1))
    assert clipped._outer_step is None
    monkeypatch.setattr(compilation, "compiled", None)  # nothing is compiled any more
    while other.step < 6:
        assert other.advance()

    assert other._outer_step is first._outer_step
    plain = trained(subject("eager"), outer, 0).with_seed(1, replace(outer, rate=0.01,
                                                                 schedule="cosine"))  # fmt: skip
    while plain.step < 6:
        assert plain.advance()
    close(other, plain, 1e-9)


def test_a_compiled_step_is_taken_over_by_a_larger_rate_without_loss():
    small, large = (OuterOptimizer(rate=rate, batch=3, held_out=4) for rate in (1e-9, 0.01))
    first = trained(subject(dtype=torch.float32), small, 3)

    other, plain = (
        first.with_seed(1, large),
        Trainer(subject("eager", dtype=torch.float32), large, 20, 1),
    )
    for trainer in (other, plain):
        while trainer.step < 8:
            assert trainer.advance()

    moved = float((plain.theta - plain.subject.theta).norm())
    assert other._outer_step is first._outer_step
    assert float((other.theta - plain.theta).norm()) < 1e-5 * moved


def test_a_warmed_up_training_goes_on_after_a_kill_without_torchs_warning():
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4, warmup=4)
    straight, killed = (trained(subject(), outer, steps) for steps in (9, 2))
    elsewhere = Trainer(subject(), outer, 20)

    elsewhere.restore(*copy.deepcopy(killed.state()))
    while elsewhere.step < 9:  # every warning but a deprecation is an error here
        assert elsewhere.advance()

    assert torch.equal(elsewhere.theta, straight.theta)


def test_an_interrupt_while_theta_is_looked_at_loses_no_step(monkeypatch):
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4)
    straight, trainer = (trained(subject(), outer, 9) for _ in range(2))

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(torch.Tensor, "copy_", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.state()

    close(trainer, straight, 0.0)


def test_a_used_trainer_that_is_restored_to_another_epoch_takes_its_algorithm():
    algorithm = MAMLPP(steps=2, inner_optimizer=SGD(0.1), loss_epochs=3, learned_rates=False,
                       per_step_norms=False)  # fmt: skip
    outer = OuterOptimizer("sgd", rate=0.05, batch=3, epoch=3, held_out=4)
    straight, early = (trained(subject("eager", algorithm), outer, steps) for steps in (8, 4))
    used = trained(subject("eager", algorithm), outer, 7)

    used.restore(*copy.deepcopy(early.state()))
    while used.step < 8:
        assert used.advance()

    assert torch.equal(used.theta, straight.theta)


def test_training_again_starts_from_the_first_epochs_algorithm():
    algorithm = MAMLPP(steps=2, inner_optimizer=SGD(0.1), loss_epochs=3, learned_rates=False,
                       per_step_norms=False)  # fmt: skip
    outer = OuterOptimizer("sgd", rate=0.05, batch=3, epoch=2, held_out=4)
    first = trained(subject("eager", algorithm), outer, 7)

    again = first.with_seed(0)
    while again.step < 7:
        assert again.advance()

    assert torch.equal(again.theta, first.theta)


def test_what_moves_by_rules_of_its_own_is_taken_in_parts():
    trainer = trained(subject(algorithm=AlphaMAML(steps=1)), OuterOptimizer(batch=3, held_out=4), 2)

    assert isinstance(trainer._outer_step, EagerStep)


def test_without_a_compiler_a_training_goes_on_eagerly_and_says_so(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(compilation, "compiled", refuse)
    outer = OuterOptimizer(rate=0.05, batch=3, held_out=4)

    with pytest.warns(RuntimeWarning, match="could not compile .* no C\\+\\+ compiler") as said:
        trainer = trained(subject(), outer, 5)

    assert len(said) == 2  # of the step, then of its meta-gradient alone
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        close(trainer, trained(subject("eager"), outer, 5), 1e-12)


def test_batches_of_another_shape_are_compiled_apart():
    outer = OuterOptimizer(rate=0.05, batch=2, held_out=4)
    families = [Quadratic(dim=4, shots=shots) for shots in (3, 2)]
    of = Subject(families[0].problem(), families[0].sample, MAML(1), families[0].theta(0))
    feeds = [TaskStream(replace(of, sample=family.sample), 0, 2) for family in families]
    trainers = [Trainer(replace(of, compute=Vectorization(engine=how)), outer, 9)
                for how in ("compile", "eager")]  # fmt: skip

    for trainer in trainers:
        trainer._task_stream = lambda step, last: feeds[step % 2](step, last)
        while trainer.step < 7:
            assert trainer.advance()

    assert len(trainers[0]._outer_step._made) == 2
    close(*trainers, 1e-9)


def test_the_command_trains_compiled_as_it_does_eagerly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for how in ("compile", "eager"):
        result = CliRunner().invoke(main, [
            "train", "--family", "quadratic", "--steps", "6", "--set", "outer.held_out=16",
            "--set", f"compute.engine={how}", "--quiet", "--save", f"{how}.safetensors",
        ])  # fmt: skip
        assert result.exit_code == 0, result.output

    fast, plain = (load_file(f"{how}.safetensors")["phi"] for how in ("compile", "eager"))
    torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-12)
