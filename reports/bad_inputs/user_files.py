"""Bad files of users: problems, families, algorithms and probes that don't do what they must."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from reports.bad_inputs.case import Case
from reports.bad_inputs.good_files import MINE, SMALL

HEAD = """
from dataclasses import dataclass

import torch

import metabench as mb


def sample(indices, seed):
    x = torch.ones(len(indices), 5, 1)
    return (x, x), (x, x)


net, mse = torch.nn.Linear(1, 1), torch.nn.functional.mse_loss
"""
MODULES = {
    "a syntax error": "def (:",
    "a tab error": "if True:\n\tx = 1\n        y = 2\n",
    "raises on import": "raise RuntimeError('no')",
    "exits on import": "import sys; sys.exit(0)",
    "is interrupted by itself": "raise KeyboardInterrupt",
    "imports what isn't there": "import nothing_of_this_name",
    "imports itself in a circle": "from my import it",
    "is empty": "",
    "is not UTF-8": "x = '\udcff'",
    "contains NUL": "x = 1\0",
    "recurses without end": "def f(): f()\nf()",
    "asserts": "assert False",
    "raises an error without text": "raise ValueError",
    "raises what isn't printable": "class E(Exception):\n    def __str__(self): raise E\nraise E",
}
OBJECTS = ("None", "3", "'text'", "[]", "lambda: 3", "object()", "int", "print", "mb", "net",
           "mb.Problem", "mb.MAML", "mb.MAML()", "mb.Quadratic", "mb.Verify", "mb.Row('x')",
           "sample")  # fmt: skip
LOSSES = ("None", "'text'", "3.0", "p", "p.mean().item()", "torch.tensor(float('nan'))",
          "(p.mean(), 1)", "p.mean() > 0", "p.mean().long()", "1 / 0", "p[99]", "undefined",
          "p.mean().detach()", "p.mean().double().numpy()", "[p.mean()]", "p.sum() * 1j",
          "torch.tensor([])", "p.mean().to('meta')")  # fmt: skip
SAMPLERS = ("None", "3", "()", "(1, 2)", "((x, x),)", "((x, x), (x, x), (x, x))", "(x, x)",
            "((x, x), (x[:1], x[:1]))", "((x, x), (x[:, :0], x[:, :0]))", "((x, 'y'), (x, x))",
            "((x.long(), x), (x.long(), x))", "((x[0], x[0]), (x[0], x[0]))", "1 / 0",
            "((x * float('nan'), x), (x, x))", "((x.to('meta'), x), (x, x))", "[[x, x], [x, x]]",
            "((x.numpy(), x.numpy()), (x, x))", "((None, x), (None, x))")  # fmt: skip
NETS = ("torch.nn.Identity()", "torch.nn.Linear(3, 1)", "torch.nn.ReLU()", "None", "mse",
        "torch.nn.Linear(1, 1).half()", "torch.nn.Linear(1, 1, dtype=torch.complex64)",
        "torch.nn.Linear(1, 1, device='meta')", "torch.nn.LazyLinear(1)", "torch.nn.LSTM(1, 1)",
        "torch.nn.Linear(1, 1).requires_grad_(False)", "torch.nn.Linear", "torch.nn.Dropout()",
        "torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(1, 1))",
        "torch.nn.Sequential()", "torch.nn.Linear(0, 1)")  # fmt: skip
ROWS = ("None", "3", "'text'", "[3]", "[None]", "(mb.Row('x'),)", "[('x', 1)]", "iter([])", "1 / 0",
        "mb.Row('x')", "[mb.Row('x', value='text')]", "[mb.Row('x', value=None)]", "[mb.Row(3)]",
        "[mb.Row('x', value=float('nan'))]", "[mb.Row('x', status='nonsense')]", "{}",
        "[mb.Row('x', value=[1.0])]", "[mb.Row('x', value=torch.ones(1))]",
        "[mb.Row('x', at='text')]", "[mb.Row(None, value=1.0)]", "[mb.Row('x', of=3)]")  # fmt: skip
FINDINGS = ("None", "3", "[3]", "'text'", "1 / 0", "[None]", "[('a', 'b')]",
            "[mb.Finding('a', 'loud', '', 'c', 'r', ())]", "[mb.Finding('a', 'info')]",
            "[mb.Finding('a', 'info', 'odd', 'c', 'r', ())]",
            "[mb.Finding(1, 'info', '', 2, 3, 4)]",
            "table['nothing']", "{}")  # fmt: skip
CALLS = ("None", "theta", "theta, 3", "1 / 0", "mb.MetaGrad(None, None, None, None)",
         "mb.MetaGrad(theta[:1], theta.sum(), theta, {})",
         "mb.MetaGrad(theta, theta, theta, {})", "mb.MetaGrad(theta, 1.0, theta, {})",
         "mb.MetaGrad(theta.sum(), theta.sum(), theta, {})", "mb.MetaGrad('a', 'b', 'c', 'd')",
         "mb.MetaGrad(theta.double(), theta.sum(), theta, {})",
         "mb.MetaGrad(theta * float('nan'), theta.sum(), theta, {})",
         "mb.MetaGrad(theta.to('meta'), theta.sum(), theta, {})")  # fmt: skip
# these are right, or wrong in a way that the findings say
RIGHT = {"p.mean().detach()", "torch.tensor(float('nan'))", "((x * float('nan'), x), (x, x))",
         "[[x, x], [x, x]]", "torch.nn.Linear(1, 1).requires_grad_(False)", "p.mean() > 0",
         "mb.MetaGrad(theta * float('nan'), theta.sum(), theta, {})", "iter([])", "{}",
         "torch.nn.Linear(1, 1, device='meta')", "[mb.Row('x', value=float('nan'))]"}  # fmt: skip
MEASURING = {"verify": (), "variance": ("--tasks", "64"), "train": ("--steps", "1")}


def cases() -> Iterator[Case]:
    """Yield the cases of all kinds of members of a file."""
    for name, text in MODULES.items():
        for words in (("verify", "--problem", "my.py:it"), ("verify", "--algo", "my.py:it"),
                      ("verify", "--family", "my.py:it"), ("probe", "my.py:it"),
                      ("contract", "my.py:it")):  # fmt: skip
            codes = (2, 130) if "interrupted" in name else (2,)
            yield _case(f"{' '.join(words[:2])}: {name}", text, words, True, codes)
    for made in OBJECTS:
        text = f"{HEAD}\nit = {made}\n"
        for words in (("verify", "--problem", "my.py:it"), ("verify", "--algo", "my.py:it"),
                      ("verify", "--family", "my.py:it"), ("probe", "my.py:it"),
                      ("contract", "my.py:it")):  # fmt: skip
            yield _case(f"{' '.join(words[:2])}: {made}", text, words, False)
    for loss in LOSSES:
        yield from _problems(f"loss {loss}", f"lambda p, y: {loss}", "net", "sample", loss)
    for drawn in SAMPLERS:
        sampler = f"lambda indices, seed: (lambda x: {drawn})(torch.ones(len(indices), 5, 1))"
        yield from _problems(f"sampler {drawn}", "mse", "net", sampler, drawn)
    for net in NETS:
        yield from _problems(f"net {net}", "mse", net, "sample", net)
    yield from _members()


def _members() -> Iterator[Case]:
    for rows in ROWS:
        yield _probe(f"measure gives {rows}", rows, "[]", rows not in RIGHT)
    for found in FINDINGS:
        yield _probe(f"find gives {found}", "[mb.Row('x', value=1.0)]", found, False)
    for called in CALLS:
        body = f"    def __call__(self, problem, theta, task):\n        return {called}\n"
        text = f"{HEAD}\n@dataclass(frozen=True)\nclass It(mb.Algorithm):\n{body}"
        for command in ("verify", "contract"):
            words = (command, "my.py:It") if command == "contract" else (
                "verify", "--algo", "my.py:It", *SMALL)  # fmt: skip
            yield _case(f"{command}: an algorithm gives {called}", text, words, False)


def _problems(name: str, loss: str, net: str, sampler: str, key: str) -> Iterator[Case]:
    text = f"{HEAD}\nit = mb.Problem.from_module({net}, {loss}, tasks=mb.Indexed({sampler}))\n"
    for command, small in MEASURING.items():
        words = (command, "--problem", "my.py:it", *small, "--quiet")
        yield _case(f"{command}: {name}", text, words, key not in RIGHT and False)


def _probe(name: str, rows: str, found: str, bad: bool) -> Case:
    text = (
        f"{HEAD}\n@dataclass(frozen=True)\nclass It(mb.Probe):\n"
        f"    def measure(self, subject, seed, progress=None):\n        return {rows}\n\n"
        f"    def find(self, table):\n        return {found}\n"
    )
    return _case(f"probe: {name}", text, ("probe", "my.py:It", *SMALL), bad and False)


def _case(
    name: str, text: str, words: tuple[str, ...], bad: bool, codes: tuple[int, ...] = (2,)
) -> Case:
    return Case("user file", name, words, bad, partial(_write, text), codes)


def _write(text: str) -> None:
    assert "problem" in MINE  # the good file that is replaced
    Path("my.py").write_bytes(text.encode(errors="surrogateescape"))
