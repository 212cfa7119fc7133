"""Does training move theta as its optimizer says, and go on to the same numbers after a kill?"""

from __future__ import annotations

import errno
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch.utils._pytree import tree_leaves, tree_structure

from metabench.algorithms.inner_optimizers.sgd import SGD
from metabench.algorithms.maml import MAML
from metabench.cli import terminal
from metabench.cli.main import main
from metabench.estimation.estimator_on_tasks import Subject
from metabench.families.digits import Digits
from metabench.families.quadratic import Quadratic
from metabench.outer_loop.low_overhead_optimizer import low_overhead_step
from metabench.outer_loop.optimizer_settings import OPTIMIZERS, OuterOptimizer
from metabench.outer_loop.task_batch import DrawnTasks
from metabench.outer_loop.task_stream import FIRST_HELD_OUT_TASK, TaskStream, training_and_held_out
from metabench.outer_loop.trainer import Trainer
from metabench.problems.samplers import Stream
from metabench.problems.tasks import Address, Task
from metabench.records import atomic_files
from metabench.records.checksummed_tensors import read_checksummed, write_checksummed

SMALL = ("train", "--family", "quadratic", "--set", "outer.held_out=16", "--quiet")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def metabench(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)


def subject(**settings):
    family = Quadratic(dim=4, **settings)
    return Subject(family.problem(), family.sample, MAML(2, SGD(0.1)), family.theta(0))


def by_hand(outer, steps, optimizer, rates):
    """The same training, by autograd through the unroll, torch's optimizer and given rates."""
    of = subject()
    theta = of.theta.clone().requires_grad_()
    optimizer = optimizer(theta, outer.weight_decay, outer.momentum)
    for n in range(steps):
        tasks = of.draw(Address.fresh(n * outer.batch, outer.batch), 0)
        total = torch.zeros(())
        for i in range(outer.batch):
            phi = theta
            support, query = (tuple(leaf[i] for leaf in part) for part in tasks[:2])
            for _ in range(2):
                loss = of.problem.inner_loss(phi, theta, support)
                (slope,) = torch.autograd.grad(loss, phi, create_graph=True)
                phi = phi - 0.1 * slope
            total = total + of.problem.outer_loss(phi, theta, query) / outer.batch
        (theta.grad,) = torch.autograd.grad(total, theta)
        if outer.clip_norm < float("inf"):
            theta.grad *= min(1.0, outer.clip_norm / float(theta.grad.norm()))
        if outer.clip_value < float("inf"):
            torch.nn.utils.clip_grad_value_([theta], outer.clip_value)
        optimizer.param_groups[0]["lr"] = rates(n)
        optimizer.step()
    return theta.detach()


BY_HAND = {  # theta, weight decay, momentum
    "sgd": lambda theta, decay, _: torch.optim.SGD([theta], weight_decay=decay),
    "momentum": lambda theta, decay, kept: torch.optim.SGD(
        [theta], momentum=kept, weight_decay=decay
    ),
    "adam": lambda theta, decay, _: torch.optim.Adam([theta], weight_decay=decay),
    "adamw": lambda theta, decay, _: torch.optim.AdamW([theta], weight_decay=decay),
    "rmsprop": lambda theta, decay, _: torch.optim.RMSprop([theta], weight_decay=decay),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_the_optimizer_on_the_mean_meta_gradient(name):
    outer = OuterOptimizer(
        optimizer=name, rate=0.05, batch=3, held_out=4, weight_decay=0.1, momentum=0.8
    )
    trainer = Trainer(subject(), outer, steps=7)

    while trainer.step < 7:
        assert trainer.advance()

    expected = by_hand(outer, 7, BY_HAND[name], lambda n: 0.05)
    torch.testing.assert_close(trainer.theta, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_lean_step_is_torchs_own_to_the_bit_and_leaves_its_state(name):
    outer = OuterOptimizer(optimizer=name, rate=0.05, weight_decay=0.01)
    thetas = [torch.nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2)]
    whole, leant = (outer.build(theta) for theta in thetas)
    quick = low_overhead_step(leant)

    for _ in range(4):
        thetas[0].grad = thetas[1].grad = torch.randn(50)
        whole.step()
        quick()

    assert torch.equal(*thetas)
    states = [each.state_dict()["state"].get(0, {}) for each in (whole, leant)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("settings", "rate"),
    [
        ({"schedule": "step", "period": 3, "factor": 0.5}, lambda n: 0.1 * 0.5 ** (n // 3)),
        (
            {"schedule": "cosine"},
            lambda n: 0.05 * (1 + math.cos(math.pi * n / 8)),
        ),
        ({"warmup": 3}, lambda n: 0.1 * min((n + 1) / 4, 1.0)),
        (
            {"warmup": 2, "schedule": "cosine"},
            lambda n: 0.1 * (n + 1) / 3 if n < 2 else 0.05 * (1 + math.cos(math.pi * (n - 2) / 6)),
        ),
        ({"clip_norm": 0.3}, lambda n: 0.1),
        ({"clip_value": 0.1}, lambda n: 0.1),
    ],
)
def test_schedules_and_clipping_are_those_of_a_loop_by_hand(settings, rate):
    outer = OuterOptimizer(optimizer="sgd", rate=0.1, batch=2, held_out=4, **settings)
    trainer = Trainer(subject(), outer, steps=8)

    while trainer.step < 8:
        assert trainer.advance()

    expected = by_hand(outer, 8, BY_HAND["sgd"], rate)
    torch.testing.assert_close(trainer.theta, expected, rtol=1e-9, atol=1e-12)
    assert [entry.rate for entry in trainer.log] == pytest.approx([rate(n) for n in range(8)])
    assert any(entry.clipped for entry in trainer.log) == outer.clips


def test_clipping_each_task_clips_before_the_mean():
    of = subject()
    outer = OuterOptimizer(
        optimizer="sgd", rate=1.0, batch=5, clip_norm=0.2, clip_tasks=True, held_out=4
    )
    trainer = Trainer(of, outer, steps=1)
    trainer.advance()

    grads = of.meta_gradients(Address.fresh(0, 5), 0).grad
    each = torch.stack([g * min(1.0, 0.2 / float(g.norm())) for g in grads])

    torch.testing.assert_close(of.theta - trainer.theta, each.mean(0), rtol=1e-12, atol=1e-14)
    assert trainer.log[0].clipped
    loose = Trainer(of, replace(outer, clip_norm=1e6), steps=1)
    loose.advance()
    assert not loose.log[0].clipped


def test_the_tasks_of_a_step_are_the_addressed_ones_however_many_are_drawn_ahead():
    of = subject()
    feed = TaskStream(of, seed=3, batch=4, first=5)

    for step in (0, 1, 2, 7, 300, 1):
        expected = of.draw(Address.fresh(5 + 4 * step, 4), 3)
        found = feed(step, 1000).tasks
        for one, other in ((found.support, expected.support), (found.query, expected.query)):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_keep_the_form_of_what_was_drawn():
    x = torch.arange(12.0).reshape(12, 1)
    task = Task({"x": x, "more": [x, x.double() + 1]}, (x, (x, ())), x.long())
    drawn = DrawnTasks(task, 4)

    cut = first, second, third = [drawn.tasks(number) for number in range(3)]

    assert torch.equal(second.support["more"][1], x[4:8].double() + 1)
    assert torch.equal(third.query[1][0], x[8:])
    assert second.query[1][1] == ()
    assert torch.equal(first.noise, x[:4].long())
    for number, rows in enumerate(drawn.rows):
        packed = drawn.tasks(number)  # from rows, once they were asked for
        assert [row.dtype for row in rows] == [torch.float32, torch.float64, torch.int64]
        assert tree_structure(packed) == tree_structure(cut[number])
        assert all(map(torch.equal, tree_leaves(packed), tree_leaves(cut[number])))


def test_held_out_tasks_are_never_trained_on():
    first, held = training_and_held_out(subject(), 8)
    assert (first, held.task[0]) == (0, FIRST_HELD_OUT_TASK)

    stream = replace(subject(), sample=Stream(iter(())))
    first, held = training_and_held_out(stream, 8)
    assert first == 8
    assert list(held.task) == list(range(8))


def test_digits_are_validated_on_digits_they_never_saw():
    assert Digits.held_out == "test"


LONG = [*SMALL, "--steps", "240", "--every", "20"]
LONG += ["--set", "outer.warmup=5", "--set", "outer.schedule=cosine", "--save"]


def test_a_killed_training_goes_on_to_the_same_bits(folder):
    state = folder / "killed.state.safetensors"
    command = [sys.executable, "-m", "metabench", *LONG, "killed.safetensors"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while not state.exists() or len(read_checksummed(state).tensors["log"]) < 40:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    reached = len(read_checksummed(state).tensors["log"])

    again = metabench(*LONG, "killed.safetensors")
    undisturbed = metabench(*LONG, "whole.safetensors")

    assert 40 <= reached < 240
    assert (again.exit_code, undisturbed.exit_code) == (0, 0)
    (one, other) = (load_file(f"{name}.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    logs = [
        read_checksummed(folder / f"{n}.state.safetensors").tensors["log"]
        for n in ("killed", "whole")
    ]
    assert torch.equal(logs[0][:, :-1], logs[1][:, :-1])  # except seconds


def test_the_time_left_counts_what_this_run_did(monkeypatch, capsys):
    clock = iter([0.0, 6.0, 16.0])  # begun; compiled, one step after step 49; ten steps later
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    say = terminal._progress_lines()

    say(50, 100)
    say(60, 100)

    assert capsys.readouterr().err == "  60%, about 40 s left\n"


def test_a_longer_training_goes_on_from_a_shorter_one():
    metabench(*SMALL, "--steps", 4, "--save", "a.safetensors")
    metabench(*SMALL, "--steps", 9, "--save", "a.safetensors")
    metabench(*SMALL, "--steps", 9, "--save", "b.safetensors")

    assert torch.equal(load_file("a.safetensors")["phi"], load_file("b.safetensors")["phi"])


def test_the_table_is_tidy_and_probes_leave_their_trajectory():
    result = metabench(
        *SMALL, "--steps", 8, "--every", 4, "--probe", "variance", "--save", "t.safetensors",
        "--set", "variance.tasks=64", "--set", "variance.redrawn_tasks=0", "--csv", "table.csv",
        "--html", "page.html",
    )  # fmt: skip

    table = pd.read_csv("table.csv")
    assert result.exit_code == 0, result.output
    assert list(table.loc[table["quantity"] == "loss", "at"]) == list(range(1, 9))
    assert set(table.loc[table["quantity"] == "variance: noise_scale", "at"]) == {0, 4, 8}
    assert table.loc[table["quantity"] == "validation", ["low", "high"]].notna().all().all()
    assert "Variance: task variance during training" in Path("page.html").read_text()


def test_probes_take_what_training_saves():
    metabench(*SMALL, "--steps", 5, "--save", "t.safetensors")

    fine = metabench(
        "variance", "--family", "quadratic", "--tasks", 64, "--theta", "t.safetensors", "--quiet"
    )
    other = metabench("variance", "--tasks", 64, "--theta", "t.safetensors")

    assert fine.exit_code == 0
    assert other.exit_code == 2
    assert "t.safetensors, trained by maml on quadratic, doesn't fit this problem" in other.stderr
    assert "0.bias: given nothing, expected (40,)" in other.stderr
    assert "other settings: family is quadratic there and sinusoid here." in other.stderr


def test_a_theta_with_parts_that_an_algorithm_learns_besides_names_the_field_that_differs():
    metabench(
        *SMALL, "--algo", "mamlpp", "--set", "algo.steps=3", "--steps", 1, "--save", "t.safetensors"
    )
    use = ("variance", "--family", "quadratic", "--theta", "t.safetensors", "--tasks", 64)

    plain, shorter = (metabench(*use, "--algo", *of) for of in (["maml"], ["mamlpp"]))

    assert (plain.exit_code, shorter.exit_code) == (2, 2)
    assert "algo is mamlpp there and maml here" in plain.stderr
    assert "algo.steps is 3 there and 1 here" in shorter.stderr


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--algo", "fomaml"), "algo is maml there and fomaml here"),
        (("--set", "family.shots=3"), "family.shots is 10 there and 3 here"),
        (("--set", "outer.rate=0.1"), "outer.rate is 0.001 there and 0.1 here"),
        (("--set", "family.dim=3"), "family.dim is 20 there and 3 here"),
        (("--seed", "1"), "seed is 0 there and 1 here"),
    ],
)
def test_a_training_of_other_settings_is_not_continued(more, said):
    metabench(*SMALL, "--steps", 2, "--save", "t.safetensors")
    before = Path("t.safetensors").read_bytes()

    result = metabench(*SMALL, "--steps", 4, "--save", "t.safetensors", *more)

    assert result.exit_code == 2
    assert said in result.stderr
    assert Path("t.safetensors").read_bytes() == before


def test_damaged_and_foreign_files_are_refused_in_a_sentence():
    metabench(*SMALL, "--steps", 2, "--save", "t.safetensors")
    whole = Path("t.state.safetensors").read_bytes()
    use = ("variance", "--family", "quadratic", "--tasks", 64, "--theta")

    def said(*args):
        result = metabench(*args)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
        return result.stderr

    Path("t.state.safetensors").write_bytes(whole[:-40])
    assert "was cut off" in said(*SMALL, "--steps", 4, "--save", "t.safetensors")
    Path("t.state.safetensors").write_bytes(whole[:-8] + bytes(8))
    assert "its digest differs" in said(*SMALL, "--steps", 4, "--save", "t.safetensors")
    Path("t.state.safetensors").unlink()
    refused = said(*SMALL, "--steps", 4, "--save", "t.safetensors")
    assert "exists without t.state.safetensors" in refused
    theta = Path("t.safetensors").read_bytes()
    Path("t.safetensors").write_bytes(theta[:-8] + bytes(8))
    assert "its digest differs" in said(*use, "t.safetensors")
    Path("t.safetensors").write_bytes(theta[:-8])
    assert "was cut off" in said(*use, "t.safetensors")
    assert "saved as safetensors" in said(*SMALL, "--save", "t.pt")
    save_file({"a": torch.ones(2)}, "other.state.safetensors")
    assert "is not a saved training state" in said(*SMALL, "--save", "other.safetensors")


def test_fewer_steps_than_were_taken_are_refused():
    metabench(*SMALL, "--steps", 3, "--save", "t.safetensors")

    result = metabench(*SMALL, "--steps", 2, "--save", "t.safetensors")

    assert result.exit_code == 2
    assert "is already at step 3" in result.stderr


def test_a_full_disk_leaves_the_old_checkpoint(monkeypatch):
    metabench(*SMALL, "--steps", 2, "--save", "t.safetensors")
    before = [Path(f"t{kind}.safetensors").read_bytes() for kind in ("", ".state")]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = metabench(*SMALL, "--steps", 4, "--save", "t.safetensors")

    assert result.exit_code == 4
    assert "No space left on device" in result.stderr
    assert [Path(f"t{kind}.safetensors").read_bytes() for kind in ("", ".state")] == before
    assert not list(Path().glob(".t*"))


def test_a_file_that_outgrows_what_is_left_is_not_half_written(folder):
    atomic_files.write(folder / "kept", b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path;"
        "from metabench.records import atomic_files;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "atomic_files.write(Path('kept'), bytes(5000))"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert "File too large" in result.stderr
    assert (folder / "kept").read_bytes() == b"old"
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_a_diverging_training_stops_says_so_and_keeps_the_last_good_theta():
    wild = ("--set", "outer.optimizer=sgd", "--set", "outer.rate=1e6", "--set", "outer.explode=inf")

    result = metabench(*SMALL, "--steps", 90, "--every", 5, "--save", "t.safetensors", *wild)

    assert result.exit_code == 3
    assert "CRITICAL" in result.stdout
    assert "Training diverges from step 1 on" in result.stdout
    assert torch.isfinite(load_file("t.safetensors")["phi"]).all()


def test_a_seal_holds_what_was_written(folder):
    tensors = {"a": torch.arange(3.0), "b": torch.tensor(2), "c": torch.empty(0)}

    write_checksummed(folder / "x.safetensors", tensors, {"step": 3, "rate": 0.1})

    held = read_checksummed(folder / "x.safetensors")
    assert held.about == {"step": 3, "rate": 0.1}
    assert all(torch.equal(held.tensors[name], value) for name, value in tensors.items())


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("outer.optimizer=adan", "did you mean 'adam'"),
        ("outer.schedule=cosin", "did you mean 'cosine'"),
        ("outer.rate=-1", "outer.rate is -1.0; it must be finite and at least 0"),
        ("outer.batch=0", "outer.batch is 0; it must be 1 or more"),
        ("outer.clip_norm=0", "clip_norm is 0.0; it must be positive"),
        ("outer.factor=2", "outer.factor is 2.0; it must lie in [0, 1]"),
        ("outer.explode=1", "it must be greater than 1"),
        ("outer.bach=3", "There is no field 'bach' of outer; did you mean 'batch'"),
    ],
)
def test_settings_that_cannot_be_are_refused(assignment, said):
    result = metabench(*SMALL, "--set", assignment)

    assert result.exit_code == 2
    assert said in result.stderr.replace("\n", " ")


def test_tensorboard_is_asked_for_in_a_sentence_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    result = metabench(*SMALL, "--steps", 2, "--tensorboard", "runs")

    assert result.exit_code == 2
    assert "pip install 'metabench[tensorboard]'" in result.stderr


def test_tensorboard_reads_back_the_table():
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = metabench(
        *SMALL, "--steps", 6, "--every", 3, "--tensorboard", "runs", "--csv", "table.csv",
        "--probe", "variance", "--set", "variance.tasks=64", "--set", "variance.redrawn_tasks=0",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    events = EventAccumulator("runs").Reload()
    table = pd.read_csv("table.csv")
    for tag, quantity, column in [
        ("loss", "loss", "value"),
        ("gradient_norm", "gradient_norm", "value"),
        ("validation", "validation", "value"),
        ("validation low", "validation", "low"),
        ("variance/task_variance high", "variance: task_variance", "high"),
    ]:
        rows = table[(table["quantity"] == quantity) & table["layer"].isna() & table["of"].isna()]
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        expected = list(zip(rows["at"], rows[column].astype("float32"), strict=True))
        assert len(expected) >= 3
        assert found == expected
    assert not {"began", "check"} & {tag.partition("/")[0] for tag in events.Tags()["scalars"]}


def test_the_documented_python_runs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import.*?)```", text, flags=re.DOTALL)

    exec(compile(example, "train.md", "exec"), {})

    assert "Interval(value=" in capsys.readouterr().out
