"""Does a replay name the task, inner step, layer and operation where it was made to go wrong?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from metabench.algorithms.fomaml import FOMAML
from metabench.algorithms.imaml import IMAML
from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.cli.main import main
from metabench.outer_loop.divergence_report import find_cause
from metabench.outer_loop.last_steps import load
from metabench.outer_loop.operation_log import operations
from metabench.outer_loop.step_recorder import MetaGradientDiverged, Recorder
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task
from metabench.records.checksummed_tensors import read_checksummed, write_checksummed
from metabench.settings.errors import InvalidInput

TASKS = 4


class Net(nn.Module):
    """Two layers, the second through an exponential that overflows where its input is large."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(2, 3), nn.Linear(3, 1)

    def forward(self, x):
        return torch.log(torch.exp(self.head(torch.tanh(self.body(x)))) + 1)


def problem():
    torch.manual_seed(0)
    return Problem.from_module(Net().double(), lambda p, y: ((p - y) ** 2).mean())


def batch(poison=None, part="query", value=1e4):
    """Tasks of which one, if asked, has a target or an input that is far too large."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, TASKS, 5, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(2, TASKS, 5, 1, generator=generator, dtype=torch.float64)
    if poison is not None:
        y[0 if part == "support" else 1, poison] = value
    return Task((x[0], y[0]), (x[1], y[1]))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_non_finite_query_loss_is_laid_at_its_task():
    of = problem()

    cause = find_cause(of, MAML(2, SGD(0.1)), of.theta, batch(2, "query", float("inf")), of.theta)

    assert (cause.task, cause.tasks) == (2, 1)
    assert cause.began.phase == "query loss and its gradient"
    assert cause.began.name == "sub"


def test_an_overflow_in_the_inner_loop_is_laid_at_step_layer_and_operation():
    """A target of 1e4 makes one long step, after which the exponential overflows at step 1."""
    of = problem()

    cause = find_cause(of, MAML(3, SGD(1.0)), of.theta, batch(1, "support", 1e4), of.theta)

    began = cause.began
    assert cause.task == 1
    assert (began.phase, began.step, began.layer) == ("inner loss", 1, "head.weight")
    assert began.name == "exp"


def test_the_adjoint_has_its_steps_counted_backwards():
    of = problem()
    task = Task(*(tuple(leaf[0] for leaf in part) for part in batch()[:2]))

    found = operations(of, MAML(3, SGD(0.01)), of.theta, task)

    inner = [op.step for op in found if op.phase == "inner loss"]
    adjoint = [op.step for op in found if op.phase == "adjoint"]
    assert sorted(set(inner)) == [0, 1, 2]
    assert inner == sorted(inner)
    assert list(dict.fromkeys(adjoint)) == [2, 1, 0]
    assert {op.layer for op in found} >= {"body.weight", "body.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize("algorithm", [FOMAML(2, SGD(0.1)), IMAML(2, SGD(0.1))])
def test_other_algorithms_are_examined_alike(algorithm):
    of = problem()

    cause = find_cause(of, algorithm, of.theta, batch(3, "support", float("nan")), of.theta)

    assert cause.task == 3
    assert (cause.began.phase, cause.began.step, cause.began.name) == ("inner loss", 0, "sub")


def test_a_finite_explosion_is_found_beside_health():
    """theta a thousand times too large: the first product with it is what grew."""
    of = problem()

    cause = find_cause(of, MAML(1, SGD(0.001)), 1000 * of.theta, batch(), of.theta)

    assert cause.tasks == 0
    assert cause.began.largest > 100


def train(recorder, of, theta, poisoned_from=5, steps=9):
    """A user's own outer loop: autograd through the unroll and plain descent."""
    for n in range(steps):
        tasks = batch(1, "support", float("inf")) if n >= poisoned_from else batch()
        at = theta.clone().requires_grad_()
        total = torch.zeros((), dtype=torch.float64)
        for i in range(TASKS):
            support, query = (tuple(leaf[i] for leaf in part) for part in tasks[:2])
            loss = of.inner_loss(at, at, support)
            (slope,) = torch.autograd.grad(loss, at, create_graph=True)
            total = total + of.outer_loss(at - 0.1 * slope, at, query) / TASKS
        (gradient,) = torch.autograd.grad(total, at)
        recorder.watch(theta, tasks, gradient, Address.fresh(TASKS * n, TASKS))
        theta = theta - 0.1 * gradient
    return theta


def test_a_recorder_in_a_custom_loop_saves_a_recording_that_replays(folder):
    of = problem()
    recorder = Recorder(of, MAML(1, SGD(0.1)), "loop.safetensors")

    with pytest.raises(MetaGradientDiverged, match="Step 5: the meta-gradient diverged") as caught:
        train(recorder, of, of.theta)

    began = caught.value.began
    assert (began.value, began.at, began.of) == (21.0, 0.0, "inner loss: sub")
    held = load(folder / "loop.safetensors")
    assert [snapshot.step for snapshot in held.snapshots] == [0, 1, 2, 3, 4, 5]
    assert held.snapshots[-1].address.task.tolist() == [20, 21, 22, 23]
    assert torch.equal(held.snapshots[0].theta, of.theta)
    assert torch.isinf(held.tasks.support[1][1]).all()


def test_a_custom_loop_that_explodes_is_compared_with_its_median_norm():
    of = problem()
    recorder = Recorder(of, MAML(1, SGD(0.1)), "loop.safetensors", explode=50)
    slope = torch.ones_like(of.theta)

    for _ in range(20):
        recorder.watch(of.theta, batch(), slope)
    recorder.watch(of.theta, batch(), 49 * slope)
    with pytest.raises(MetaGradientDiverged, match="exploded"):
        recorder.watch(of.theta, batch(), 51 * slope)


def test_a_theta_that_is_not_finite_is_said_with_its_layer():
    of = problem()
    theta = of.theta.clone()
    theta[-1] = float("nan")
    named = of.layouts.theta.unflatten(theta)

    with pytest.raises(MetaGradientDiverged, match=r"theta itself is not finite: head\.bias"):
        Recorder(of, MAML(), "loop.safetensors").watch(named, batch(), named)


def test_what_does_not_fit_the_recorder_is_refused():
    of = problem()

    with pytest.raises(InvalidInput, match="was given \\(3,\\)"):
        Recorder(of, MAML(), "loop.safetensors").watch(torch.ones(3), batch(), of.theta)
    with pytest.raises(InvalidInput, match="no file"):
        load(Path("nowhere.safetensors"))


WILD = ("train", "--family", "sinusoid", "--set", "outer.optimizer=sgd", "--set", "outer.rate=1e3",
        "--set", "outer.held_out=4", "--steps", 40, "--every", 40, "--quiet", "--save",
        "t.safetensors")  # fmt: skip


def metabench(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def test_a_training_that_stops_names_where_and_its_recording_replays():
    stopped = metabench(*WILD)

    assert stopped.exit_code == 3
    assert re.search(
        r"The first failure is in task \d+, in the .* the result of \w+ is not", stopped.stdout
    )
    (following,) = re.findall(r"^next +metabench (.+)$", stopped.stdout, re.M)
    again = metabench(*following.split())
    assert again.exit_code == 0
    assert "fails again" in again.stdout
    (one,) = re.findall(r"The first failure is in .*", stopped.stdout)
    assert one in again.stdout
    assert "redrawn from their addresses equal the recorded ones" in again.stdout


def test_a_theta_whose_square_overflows_is_replayed():
    of = problem()
    huge = 1e200 * of.theta
    with pytest.raises(MetaGradientDiverged):
        Recorder(of, MAML(1, SGD(0.1)), "loop.safetensors").watch(huge, batch(), huge / 0)
    Path("my.py").write_text(FILE)

    result = metabench("replay", "loop.safetensors", "--problem", "my.py:problem")

    assert result.exit_code == 0
    assert "fails again" in result.stdout


FILE = """
import torch
from metabench import BlackBox, Indexed, Problem

torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)).double()
of = Problem.from_module(
    net, lambda p, y: ((p - y) ** 2).mean(), tasks=Indexed(lambda indices, seed: None)
)
problem = of
"""


def test_a_replay_says_whether_a_change_helps(folder):
    """At an inner rate of 1e6 the adapted parameters are far off; at 0.01 nothing is wrong."""
    (folder / "my.py").write_text(FILE)
    held = {}
    exec(FILE, held)
    of, algorithm = held["of"], MAML(2, SGD(1e6))
    recorder = Recorder(of, algorithm, "loop.safetensors", explode=1e3)
    small = torch.full_like(of.theta, 1e-3)
    for _ in range(20):
        recorder.watch(of.theta, batch(), small)
    with pytest.raises(MetaGradientDiverged):
        recorder.watch(100 * of.theta, batch(), 1e30 * small)

    def said(*args):
        return metabench("replay", "loop.safetensors", "--problem", "my.py:problem", *args).stdout

    assert "no longer fails" in said("--set", "algo.inner_optimizer.rate=0.01")
    assert "e+28." in said()  # by the recorder's algorithm, two steps at 1e6
    assert "recorded without addresses" in said()


def test_a_replay_needs_the_problem_it_was_recorded_on():
    of = problem()
    with pytest.raises(MetaGradientDiverged):
        train(Recorder(of, MAML(1, SGD(0.1)), "loop.safetensors"), of, of.theta)

    result = metabench("replay", "loop.safetensors")

    assert result.exit_code == 2
    assert "give it: --problem FILE.py:NAME" in result.stderr


def odd_files(tensors, about):
    """The same file without each of its parts, and with each in another form."""
    for key in about:
        yield tensors, {name: value for name, value in about.items() if name != key}
        for odd in (None, [], 7, "x"):
            yield tensors, {**about, key: odd}
    for key in tensors:
        yield {name: value for name, value in tensors.items() if name != key}, about
        yield {**tensors, key: torch.zeros(3, 2)}, about


@pytest.mark.parametrize("name", ["t.replay.safetensors", "t.state.safetensors"])
def test_a_file_of_another_form_with_a_right_digest_ends_in_a_sentence(name):
    """Its sender knows how digests are made; some parts are not read, which is no fault."""
    again = ("replay", name) if "replay" in name else (*WILD, "--steps", 100)
    metabench(*WILD)
    held = read_checksummed(Path(name))
    codes = set()

    for tensors, about in odd_files(*held):
        write_checksummed(Path(name), tensors, about)
        result = metabench(*again)
        codes.add(result.exit_code)

    assert codes <= {0, 2, 3}
    assert 2 in codes
