"""The good files that every case begins with: a study and its store, a run, weights, user files."""

from __future__ import annotations

import os
from pathlib import Path

from click.testing import CliRunner

from metabench.cli.main import main

STUDY = """
seed = [0, 1]
[probe]
name = "verify"
thorough = false
[algo]
name = "maml"
[family]
name = "quadratic"
dim = 2
"""
MINE = """
from dataclasses import dataclass

import torch

import metabench as mb


def sample(indices, seed):
    x = torch.linspace(-1, 1, 5).reshape(1, 5, 1).expand(len(indices), 5, 1)
    return (x, x * 2), (x, x * 2)


torch.manual_seed(0)
problem = mb.Problem.from_module(
    torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, tasks=mb.Indexed(sample)
)


@dataclass(frozen=True)
class Hello(mb.Probe):
    tasks: int = 4  # fresh tasks [tasks]

    def measure(self, subject, seed, progress=None):
        return [mb.Row("loss", value=1.0)]

    def find(self, table):
        return []
"""
# small settings of the commands that measure
SMALL = ("--family", "quadratic", "--set", "family.dim=2", "--quiet")
COMMANDS = (
    ("grid", "study.toml", "--executor", "inline", "--quiet"),
    ("verify", *SMALL, "--html", "run.html", "--csv", "table.csv"),
    ("train", *SMALL, "--steps", "2", "--save", "theta.safetensors", "--set", "outer.batch=2",
     "--set", "outer.held_out=2"),
    ("train", *SMALL, "--steps", "3", "--save", "lost.safetensors", "--set", "outer.batch=2",
     "--set", "outer.held_out=2", "--set", "outer.rate=1e200"),
    ("report", "table.csv", "--table", "table.parquet", "--figures", "0"),
)  # fmt: skip


def make(folder: Path) -> None:
    """Make the good files in a folder; every command that does must succeed."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("study.toml").write_text(STUDY)
        Path("my.py").write_text(MINE)
        Path("folder").mkdir()
        Path("file.txt").write_text("text\n")
        for words in COMMANDS:
            result = CliRunner().invoke(main, list(words))
            if result.exit_code not in (0, 3):
                raise RuntimeError(f"{words} ended with {result.exit_code}: {result.output}")
    finally:
        os.chdir(before)
