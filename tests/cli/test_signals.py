"""Do Ctrl-C and SIGTERM keep what is measured, say how to go on, and leave a clean terminal?"""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from shell import metabench

from metabench.outer_loop.trainer import Trainer
from metabench.probes.variance import Variance
from metabench.probes.verify import Verify
from metabench.report import report as reports

ROOT = Path(__file__).parents[2]
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def _ctrl_c_as_at_a_terminal():
    """A run in the background begins with SIGINT ignored; such tests then waited without end."""
    held = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, held)


SMALL = ["--family", "quadratic", "--set", "family.dim=2", "--quiet"]
TRAINING = ["train", *SMALL, "--steps", "6", "--every", "2", "--save", "theta.safetensors",
            "--set", "outer.batch=2", "--set", "outer.held_out=4"]  # fmt: skip
ENDLESS = """
import torch
import metabench as mb


def loss(prediction, y):
    while True:
        pass


def sample(indices, seed):
    x = torch.zeros(len(indices), 2, 1)
    return (x, x), (x, x)


problem = mb.Problem.from_module(torch.nn.Linear(1, 1), loss, tasks=mb.Indexed(sample))


class Forever(mb.Quadratic):
    def sample(self, address, seed):
        while True:
            pass
"""
STUDY = """
{top}
seed = [0, 1]
[probe]
name = "verify"
thorough = false
[algo]
name = "maml"
[family]
name = "{family}"
"""


def send(number):
    """A function that sends this process a signal, whatever it is called with."""

    def sends(*args, **kwargs):
        os.kill(os.getpid(), number)
        time.sleep(1)  # until it has come
        raise AssertionError("the signal was ignored")

    return sends


def goes_on(result, number):
    """The command that an interrupted one suggests."""
    assert result.exit_code == CODES[number], result.output
    assert "Traceback" not in result.output
    said, _, command = result.stderr.partition("Go on with: ")
    assert "Interrupted. " in said
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # as it was
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return shlex.split(command)[1:]


@pytest.mark.parametrize("number", CODES)
def test_a_probe_ends_with_a_sentence(monkeypatch, number):
    words = ["variance", *SMALL, "--html", "my page.html"]
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Variance, "measure", send(number))
        result = metabench(*words)

    assert goes_on(result, number) == words
    assert "Nothing was written" in result.stderr


@pytest.mark.parametrize("number", CODES)
def test_a_report_ends_with_a_sentence_and_leaves_the_old_page(monkeypatch, number):
    Path("table.csv").write_text("quantity,value\na,1\n")
    Path("page.html").write_text("old")
    monkeypatch.setattr(reports, "study_page", send(number))

    assert goes_on(metabench("report", "table.csv"), number) == ["report", "table.csv"]
    assert Path("page.html").read_text() == "old"


@pytest.mark.parametrize("number", CODES)
def test_a_checkup_keeps_the_probes_that_it_has_measured(monkeypatch, number):
    words = ["diagnose", *SMALL, "--probe", "verify,variance", "--try", "0"]
    monkeypatch.setattr(Variance, "measure", send(number))

    result = metabench(*words)

    assert goes_on(result, number) == words
    assert "The probes that were measured are kept." in result.stderr
    assert len(list(Path("metabench-runs").glob("diagnose-*/verify/record.json"))) == 1


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_training_goes_on_to_the_same_numbers(monkeypatch, number, times):
    whole = metabench(*TRAINING[:-5], "whole.safetensors", *TRAINING[-4:])
    assert whole.exit_code == 0, whole.output
    advance = Trainer.advance

    def interrupted(trainer):
        if trainer.step == 3:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return advance(trainer)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Trainer, "advance", interrupted)
        result = metabench(*TRAINING)
    command = goes_on(result, number)

    kept = 4 if times == 1 else 2  # a step that was torn isn't saved
    assert f"The training is saved at step {kept} in theta.safetensors." in result.stderr
    assert "interrupt again to stop at once" in result.stderr
    assert command == TRAINING
    assert metabench(*command).exit_code == 0
    reached, expected = (load_file(f"{name}.safetensors") for name in ("theta", "whole"))
    assert reached.keys() == expected.keys()
    assert all(torch.equal(reached[name], expected[name]) for name in expected)


@pytest.mark.parametrize("number", CODES)
def test_a_grid_finishes_the_running_cell(monkeypatch, number):
    Path("study.toml").write_text(STUDY.format(top="", family="quadratic"))
    measure = Verify.measure

    def interrupted(probe, subject, seed, progress=None):
        os.kill(os.getpid(), number)
        return measure(probe, subject, seed)

    monkeypatch.setattr(Verify, "measure", interrupted)
    result = metabench("grid", "study.toml", "--executor", "inline")

    assert result.exit_code == CODES[number]
    assert "1 done, 1 to go" in result.stdout
    assert "Resume with: metabench grid study.toml --executor inline" in result.stdout


@pytest.mark.parametrize("number", CODES)
def test_a_plan_that_measures_keeps_the_cells(monkeypatch, number):
    Path("study.toml").write_text(STUDY.format(top="", family="quadratic"))
    measure = Verify.measure

    def interrupted(probe, subject, seed, progress=None):
        os.kill(os.getpid(), number)
        return measure(probe, subject, seed)

    monkeypatch.setattr(Verify, "measure", interrupted)
    result = metabench("plan", "study.toml", "--measure", "2")

    assert goes_on(result, number) == ["plan", "study.toml", "--measure", "2"]
    assert "The cells that were measured are kept." in result.stderr
    assert len(list(Path("metabench-runs").glob("study/cells/*/*.json"))) == 1


@pytest.mark.parametrize("number", CODES)
def test_a_loss_that_never_returns_can_be_interrupted(number):
    Path("endless.py").write_text(ENDLESS)
    words = ["verify", "--problem", "endless.py:problem", "--quiet"]

    timer = threading.Timer(1.5, os.kill, (os.getpid(), number))
    timer.start()
    try:
        assert goes_on(metabench(*words), number) == words
    finally:
        timer.cancel()


def test_a_cell_that_never_returns_runs_out_of_time_in_a_grid():
    Path("endless.py").write_text(ENDLESS)
    Path("study.toml").write_text(STUDY.format(top="timeout = 0.5", family="endless.py:Forever"))

    result = metabench("grid", "study.toml", "--executor", "inline")

    assert result.exit_code == 3, result.output
    assert result.stdout.count("timeout   It took longer than 0.5 s.") == 2
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_the_terminal_is_left_with_its_cursor():
    number = signal.SIGTERM
    parent, child = pty.openpty()
    words = [sys.executable, "-m", "metabench", "train", *SMALL[:-1], "--steps", "1000000"]
    process = subprocess.Popen(words, stdin=child, stdout=child, stderr=child, close_fds=True)
    os.close(child)
    shown = b""
    try:
        while b"\x1b[?25l" not in shown:  # the bar hides the cursor
            shown += os.read(parent, 4096)
        process.send_signal(number)
        while True:
            try:
                shown += os.read(parent, 4096)
            except OSError:  # the process has closed its side
                break
        assert process.wait(timeout=20) == CODES[number]
    finally:
        process.kill()
        os.close(parent)

    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert b"Go on with: metabench train" in shown


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_command_is_imported_ends_in_a_sentence(tmp_path, number):
    """A module in the place of click sends it, at the first import."""
    (tmp_path / "click.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(20)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-m", "metabench", "list"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True,
        timeout=15, check=False,
    )  # fmt: skip

    assert (ended.returncode, ended.stdout) == (CODES[number], "")
    assert ended.stderr == "\nInterrupted while no command was running.\n"
