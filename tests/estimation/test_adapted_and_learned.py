"""Do a run's first lines, and its page, name what adapts and what is learned?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shell import metabench
from torch import nn
from torch.nn.functional import mse_loss

import metabench as mb
from metabench.estimation.adapted_and_learned import adapted_and_learned


class HeadFirst(nn.Module):
    """A network whose head is declared first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.norm = nn.Linear(4, 1), nn.Linear(2, 4), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x)))


ALL = "6 tensors with 25 numbers, head.weight, head.bias, body.weight, ..., norm.bias."
SAID = {
    "maml": (mb.MAML(), f"Adapted: {ALL} Learned: {ALL}"),
    "anil": (mb.ANIL(),
             f"Adapted: 2 tensors with 5 numbers, head.weight, head.bias. Learned: {ALL}"),
    "a pattern": (mb.ANIL(head=("body.*",)),
                  f"Adapted: 2 tensors with 12 numbers, body.weight, body.bias. Learned: {ALL}"),
    "mamlpp": (mb.MAMLPP(steps=2), "Adapted: 4 tensors with 17 numbers, head.weight, head.bias, "
               "body.weight, body.bias. Learned: 14 tensors with 53 numbers, head.weight"),
    "a black box": (mb.BlackBox(lambda theta, task: None), f"Learned: {ALL}"),
}  # fmt: skip


@pytest.mark.parametrize(("algorithm", "said"), SAID.values(), ids=SAID.keys())
def test_names_and_numbers_are_those_of_the_algorithm(algorithm, said):
    problem = mb.Problem.from_module(HeadFirst(), mse_loss)
    x, y = torch.ones(1, 3, 2), torch.ones(1, 3, 1)
    subject = mb.Subject(problem, lambda *_: mb.Task((x, y), (x, y)), algorithm, problem.theta)

    assert adapted_and_learned(subject).startswith(said)


def test_the_terminal_and_the_page_say_it_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("verify", "--algo", "anil", "--html", "p.html")

    result = metabench(*words)

    said = "Adapted: 2 tensors with 41 numbers, 4.weight, 4.bias. Learned: 6 tensors with "
    assert result.stderr.splitlines()[1].startswith(said)
    text = Path("p.html").read_text(encoding="utf-8")
    assert text.index(said) < text.index("checks of the meta-gradient")
    assert metabench(*words, "--quiet").stderr == ""
