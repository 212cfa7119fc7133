"""Does an error in a user's code end in one sentence with its file, line and message?"""

from __future__ import annotations

import json

import pytest
import torch
from shell import metabench

import metabench as mb
from metabench.settings.errors import InvalidInput

FILE = """
import json
import torch
import metabench as mb

net = torch.nn.Linear(2, 1)
mse = torch.nn.functional.mse_loss
calls = []


def draw(indices, seed):
    x = torch.ones(len(indices), 3, 2)
    return mb.Task((x, x[..., :1]), (x, x[..., :1]))


def late(indices, seed):
    calls.append(1)
    if len(calls) > 1:
        raise KeyError(3)
    return draw(indices, seed)


def unwritten(indices, seed):
    raise NotImplementedError


def missing(indices, seed):
    return open("/nowhere/data.npz")


def parsed(indices, seed):
    return json.loads("{")


def broken(p, y):
    return p.nope()


def warns(p, y):
    raise UserWarning("too few\\nexamples")


def problem(loss=mse, sample=draw):
    return mb.Problem.from_module(net, loss, tasks=mb.Indexed(sample))


loss, warned = problem(broken), problem(warns)
second, nothing, file, text = (problem(mse, f) for f in (late, unwritten, missing, parsed))


class Unmade(mb.Family):
    def __init__(self):
        raise RuntimeError("no data")

    problem = theta = sample = None


class Far(mb.Quadratic):
    def sample(self, address, seed):
        return [][3]


class Unsolved(mb.Solver):
    def __call__(self, matvec, b):
        return b.shape[7]
"""

ERRORS = {
    "loss": "AttributeError: 'Tensor' object has no attribute 'nope'",
    "warned": "UserWarning: too few",
    "second": "KeyError: 3",
    "nothing": "NotImplementedError",
    "file": "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/data.npz'",
    "text": "JSONDecodeError: Expecting property name enclosed in double quotes",
    "Unmade": "RuntimeError: no data",
}
LINES = {"loss": "return p.nope()", "second": "raise KeyError(3)", "file": "return open("}


@pytest.fixture(autouse=True)
def own(folder):
    (folder / "my.py").write_text(FILE)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_user_code_is_one_sentence_with_file_line_and_message(name):
    result = metabench("verify", "--problem", f"my.py:{name}", "--quiet")

    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert ERRORS[name] in result.stderr
    assert "my.py, line " in result.stderr
    assert LINES.get(name, "") in result.stderr
    assert "--debug shows the traceback" in result.stderr
    assert result.stderr.count("Error: ") - ERRORS[name].count("Error: ") == 1


@pytest.mark.parametrize("words", [
    ("variance", "--tasks", "32"), ("train", "--steps", "2", "--set", "outer.held_out=2"),
    ("diagnose", "--budget", "5s"), ("cost",),
], ids=lambda words: words[0])  # fmt: skip
def test_every_command_says_it(words):
    result = metabench(*words, "--problem", "my.py:loss", "--quiet")

    assert result.exit_code == 2
    assert ERRORS["loss"] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_contract_says_it():
    result = metabench("contract", "my.py:Unsolved")

    assert result.exit_code == 2
    assert "in __call__: IndexError" in result.stderr


@pytest.mark.parametrize("place", ["first", "last"])
def test_debug_shows_the_traceback_wherever_it_stands(place):
    words = ["verify", "--problem", "my.py:loss"]

    result = metabench(*(["--debug", *words] if place == "first" else [*words, "--debug"]))

    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.index("AttributeError: 'Tensor'") < result.stderr.index("Error: One task")


def test_a_failed_cell_of_a_grid_holds_the_sentence(folder):
    (folder / "s.toml").write_text(
        'seed = 0\nalgo = "maml"\nfamily = "my.py:Far"\n[probe]\nname = "verify"\ntasks = 2\n'
    )

    result = metabench("grid", "s.toml", "--executor", "inline", "--json")

    (failed,) = json.loads(result.stdout)["failed"]
    assert result.exit_code == 3
    assert "IndexError: list index out of range. (my.py, line" in failed["error"]


def test_from_python_it_is_an_exception_chain():
    def broken(p, y):
        raise LookupError("of the test")

    net, x = torch.nn.Linear(2, 1), torch.ones(1, 3, 2)
    problem = mb.Problem.from_module(net, broken)
    subject = mb.Subject(
        problem, lambda *_: mb.Task((x, x[..., :1]), (x, x[..., :1])), mb.MAML(), problem.theta
    )

    with pytest.raises(InvalidInput, match=r"LookupError: of the test.*test_user_errors\.py"):
        mb.measure_checked(mb.Verify(tasks=1), subject)


def test_json_keeps_stdout_empty():
    result = metabench("verify", "--problem", "my.py:loss", "--json")

    with pytest.raises(json.JSONDecodeError):
        json.loads(result.stdout)
    assert result.stdout == ""
