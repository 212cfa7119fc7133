"""Can a user's own problem be measured from the shell, and is bad input refused in a sentence?"""

from __future__ import annotations

import re
import sys

import pytest
import torch
from safetensors.torch import save_file
from shell import measured, metabench, numbers

from metabench.settings import registry

OWN = """
import torch
from torch import nn
import metabench as mb

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))

def loss(prediction, y):
    return ((prediction - y) ** 2).mean()

def draw(i, seed):
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(1000 * seed + int(i)))
    return (x[:4], x[:4, :2] ** 2), (x[4:], x[4:, :2] ** 2)

def sample(indices, seed):
    tasks = [draw(i, seed) for i in indices]
    return torch.utils.data.default_collate(tasks)

def endless():
    i = 0
    while True:
        yield draw(i, 0)
        i += 1

problem = mb.Problem.from_module(net, loss, tasks=mb.Indexed(sample))
stream = mb.Problem.from_module(net, loss, tasks=mb.Stream(endless()))
head = mb.Problem.from_module(net, loss, adapt=["2.*"], tasks=mb.Indexed(sample))

def gradient(theta, task):
    out = torch.func.functional_call(net, {n: v.requires_grad_() for n, v in theta.items()},
                                     (task.query[0],))
    outer = loss(out, task.query[1])
    return outer, torch.autograd.grad(outer, list(theta.values()))

theirs = mb.BlackBox(gradient)
"""
MINE = ("variance", "--problem", "my.py:problem", "--tasks", "32")


@pytest.fixture
def own(folder):
    (folder / "my.py").write_text(OWN)
    return registry.load("families", "my.py:problem")


def test_a_module_of_ones_own_is_measured_and_checked(own):
    found = measured(*MINE)

    checks = {row["of"]: row["status"] for row in found["rows"] if row["quantity"] == "check"}
    assert checks["finite differences"] == checks["Hessian symmetry"] == "ok"
    assert re.fullmatch(r"my\.py@[0-9a-f]{12}:problem", found["spec"]["family"]["name"])
    assert any("can't be redrawn separately" in f["claim"] for f in found["findings"])


@pytest.mark.usefixtures("own")
def test_a_stream_gives_what_the_sampler_gives():
    by_index, by_stream = (
        measured("variance", "--problem", f"my.py:{name}", "--tasks", "32")
        for name in ("problem", "stream")
    )

    assert numbers(by_index["rows"])[:10] == numbers(by_stream["rows"])[:10]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_trained_weights_of_a_module_are_read_by_name(own, folder, suffix):
    state = {name: value + 0.1 for name, value in own.layouts.theta.unflatten(own.theta).items()}
    path = folder / f"run.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)

    trained, initial = measured(*MINE, "--theta", path.name), measured(*MINE)

    assert trained["spec"]["theta"].startswith(f"run.{suffix}@")
    assert numbers(trained["rows"]) != numbers(initial["rows"])


@pytest.mark.usefixtures("own")
def test_a_black_box_takes_an_algorithms_place():
    theirs = measured(*MINE, "--algo", "my.py:theirs")
    ours = measured(*MINE, "--algo", "fomaml", "--set", "algo.steps=0")

    assert theirs["spec"]["algo"]["name"].startswith("my.py@")
    for a, b in zip(numbers(theirs["rows"]), numbers(ours["rows"]), strict=False):
        if a["value"] is not None and a["quantity"] == "variance":
            assert a["value"] == pytest.approx(b["value"], rel=1e-5)
    assert any("black box" in f["claim"] for f in theirs["findings"])


def test_a_module_of_other_values_is_another_cell(own, folder):
    """A file that doesn't seed its module is the same file with another theta."""
    (folder / "my.py").write_text(OWN.replace("torch.manual_seed(0)", "torch.seed()"))
    digests = []
    for _ in range(2):
        sys.modules.pop(registry.load("families", "my.py:sample").__module__)
        digests.append(measured(*MINE)["spec"]["theta"])

    assert re.fullmatch(r"module@[0-9a-f]{12}", digests[0])
    assert digests[0] != digests[1]


def test_a_file_whose_code_changes_is_another_cell_and_a_comment_changes_nothing(own, folder):
    first = measured(*MINE)["spec"]["family"]["name"]
    (folder / "my.py").write_text("# a comment\n\n" + OWN + "\n# another\n")
    commented = measured(*MINE)["spec"]["family"]["name"]
    (folder / "my.py").write_text(OWN + "\nchanged = True\n")

    assert commented == first
    assert measured(*MINE)["spec"]["family"]["name"] != first


def test_verify_alone_prints_its_checks(own):
    found = metabench("verify", "--problem", "my.py:problem").stdout

    assert re.search(r"^check, finite differences +\d", found, re.M)
    assert re.search(
        r"^next +metabench diagnose --algo maml --problem my\.py:problem$", found, re.M
    )


def test_verify_draws_its_own_few_tasks():
    assert measured("verify", "--family", "quadratic")["spec"]["probe"]["tasks"] == 2


BAD_OWN = {
    "weights of another shape": (
        ("--theta", "wide.pt"),
        "These parameters do not fit: 0.weight: given (7, 3), expected (6, 3).",
    ),
    "weights by other names": (
        ("--theta", "other.pt"),
        "0.bias: given nothing, expected (6,)",
    ),
    "a pickle that isn't weights": (
        ("--theta", "pickle.pt"),
        "pickle.pt holds more than weights, or isn't a torch file",
    ),
    "a body that was trained too": (
        ("--problem", "my.py:head", "--theta", "whole.pt"),
        "whole.pt also holds 0.weight, which is not part of theta and has other values in the "
        "module. Load the file into the module before Problem.from_module.",
    ),
    "settings of what is made": (
        ("--set", "family.dim=3"),
        "my.py:problem is an instance, so --set can't change it; set dim in its file.",
    ),
    "settings of a black box": (
        ("--algo", "my.py:theirs", "--set", "algo.steps=3"),
        "my.py:theirs is a black box; it has no field 'steps' to set.",
    ),
    "a function for an algorithm": (
        ("--algo", "my.py:gradient"),
        "'my.py:gradient' is no algorithm; it must be a class derived from metabench.Algorithm",
    ),
    "a theta that is no initialization": (
        ("--algo", "imaml", "--set", "algo.proximal_strength=0"),
        "The inner optimum doesn't depend on theta, so its implicit gradient is zero",
    ),
    "a strength that pushes": (
        ("--algo", "imaml", "--set", "algo.proximal_strength=-1"),
        "strength is -1.0; it must be finite and not negative.",
    ),
    "no solver steps": (
        ("--algo", "imaml", "--set", "algo.solver.steps=0"),
        "steps is 0; CG needs at least 1 step.",
    ),
    "an unknown solver": (
        ("--algo", "imaml", "--set", "algo.solver=cgg"),
        "There is no solver 'cgg'; did you mean 'cg'?",
    ),
}


class Whatever:
    """Pickled, this needs its class, and a file of weights does not."""


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("arguments", "sentence"), BAD_OWN.values(), ids=BAD_OWN.keys())
def test_bad_input_of_ones_own_is_refused_in_a_sentence(folder, arguments, sentence):
    whole = registry.load("families", "my.py:net").state_dict()
    torch.save({**whole, "0.weight": torch.zeros(7, 3)}, folder / "wide.pt")
    torch.save({name + "_v": value for name, value in whole.items()}, folder / "other.pt")
    torch.save({name: value + 1 for name, value in whole.items()}, folder / "whole.pt")
    torch.save(Whatever(), folder / "pickle.pt")

    result = metabench(*MINE, *arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("Error: ") == 1


def test_a_file_that_breaks_shows_its_own_lines_only(folder):
    (folder / "deep.py").write_text("import json\n\ndef f():\n    json.loads('{')\n\nf()\n")

    said = metabench("variance", "--problem", "deep.py:Mine").stderr

    assert "deep.py raised JSONDecodeError on import: Expecting property name" in said
    assert "line 6, in <module>: f()" in said
    assert "line 4, in f: json.loads('{')" in said
    assert "decoder.py" not in said


BY_HAND = """
five = mb.MAML(steps=5, inner_optimizer=mb.SGD(rate=0.1))
solver = mb.CG(steps=20)

def summing(theta, task):
    return gradient(theta, task)[1] if task.query[0].dim() == 2 else [
        sum(parts) for parts in zip(*(gradient(theta, mb.Task(*((d[0][i], d[1][i]) for d in task[:2]
        )))[1] for i in range(len(task.query[0]))))
    ]

summed = mb.BlackBox(lambda theta, task: summing(theta, task), batched=True)
moody = mb.BlackBox(lambda theta, task: torch.randn(sum(v.numel() for v in theta.values())))
calls = iter(range(1000))
drifting = problem._replace(tasks=mb.Indexed(lambda i, seed: sample(i + 1000 * next(calls), seed)))
unequal = problem._replace(tasks=mb.Indexed(lambda i, seed: sample(range(len(i)), seed)))
bare, sampler, words = problem._replace(tasks=None), problem.tasks, "words"

class Needs(mb.Quadratic):
    def __init__(self, size):
        pass
"""
KEPT = {
    "problem": "problems",
    "stream": "problems",
    "head": "problems",
    "five": "algorithms",
    "solver": "solvers",
}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", KEPT)
def test_what_is_made_by_hand_is_held_to_its_contract(folder, name):
    (folder / "my.py").write_text(OWN + BY_HAND)

    result = metabench("contract", f"my.py:{name}")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"my.py:{name} keeps the contract of {KEPT[name]}: ")


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("name", "kind"), [("five", "algorithms"), ("theirs", "black boxes")])
def test_an_estimator_is_held_to_its_contract_on_its_own_problem(folder, name, kind):
    (folder / "my.py").write_text(OWN + BY_HAND)

    result = metabench("contract", f"my.py:{name}", "--problem", "my.py:problem")

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"my.py:{name} keeps the contract of {kind}: ")


BREAKS = {
    "theirs": (
        r"theirs is a BlackBox, which is made for one problem.* --problem my\.py:NAME, a Problem"
    ),
    "summed --problem my.py:problem": "for a batch it does not return the mean over tasks",
    "moody --problem my.py:problem": "two calls differ",
    "theirs --problem my.py:words": "my.py:words is of a kind that has no contract",
    "theirs --problem my.py:solver": (
        "--problem takes a Problem with tasks, or a Family; my.py:solver is neither"
    ),
    "solver --problem my.py:problem": "--problem does not apply; leave it out",
    "drifting": r"sample\(address, seed\) differs between calls",
    "unequal": "a task depends on which others are drawn with it",
    "bare": r"a Problem without tasks; give it a sampler",
    "sampler": "sampler is a Indexed, which has no contract; give it to its problem",
    "net": "net is a Sequential, which has no contract; make a problem of it",
    "gradient": r"gradient is a function.*a BlackBox\(function\)",
    "words": "words is of a kind that has no contract; it must derive from one of metabench.Algo",
    "Needs": r"Needs can't be made without arguments.*Make one in the file",
    "nothing": "my.py has no 'nothing'",
}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("words", "said"), BREAKS.items(), ids=BREAKS.keys())
def test_what_keeps_no_contract_is_told_why(folder, words, said):
    (folder / "my.py").write_text(OWN + BY_HAND)

    result = metabench("contract", *f"my.py:{words}".split())

    assert result.exit_code == 2
    assert re.search(said, " ".join(result.stderr.split()))
