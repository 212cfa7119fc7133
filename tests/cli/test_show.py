"""Does `show STUDY` print each cell's own numbers, not those of a layer or of another source?"""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import metabench

# The last row of the quantity belongs to a layer, the one before it to another estimator.
PROBE = """
from dataclasses import dataclass
from typing import ClassVar

import metabench as mb


@dataclass(frozen=True)
class Layered(mb.Probe):
    axis: ClassVar[str] = "B"
    question: ClassVar[str] = "?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        return [
            mb.Row("noise_scale", value=6.75 + seed),
            mb.Row("noise_scale", at=4.0, value=31.5),
            mb.Row("noise_scale", of="imaml", value=17.25 + seed),
            mb.Row("noise_scale", layer="2.bias", value=53.5),
            mb.Row("only_in_layers", layer="2.bias", value=54.5),
            mb.Row("share", of="query", value=55.5),
        ]

    def find(self, table):
        return [mb.Finding("said", "info", "undecided", "It is so.", "Change it.", ())]

    def draw(self, table, axes):
        pass
"""
STUDY = """
probe = { name = "layered.py:Layered" }
algo = { name = "maml" }
family = { name = "quadratic" }
seed = "range(2)"
"""


@pytest.fixture
def study():
    Path("layered.py").write_text(PROBE)
    Path("s.toml").write_text(STUDY)
    assert metabench("grid", "s.toml", "--executor", "inline", "--quiet").exit_code == 0
    return "s.toml"


def test_a_line_holds_the_numbers_of_the_whole_cell(study):
    header, *lines = metabench("show", study).stdout.splitlines()

    assert " ".join(header.split()) == "cell status seed noise scale noise scale, imaml"
    seeds = {line.split()[2]: line.split()[3:] for line in lines}
    assert seeds == {"0": ["6.75", "17.2"], "1": ["7.75", "18.2"]}


def test_one_cell_fails_by_its_findings_and_all_cells_are_refused(study):
    digest = metabench("show", study).stdout.splitlines()[1].split()[0]

    assert metabench("show", study, digest).exit_code == 0
    assert metabench("show", study, digest, "--fail-on", "undecided").exit_code == 1
    assert metabench("show", study, digest, "--fail-on", "critical").exit_code == 0
    refused = metabench("show", study, "--fail-on", "critical")
    assert refused.exit_code == 2
    assert "metabench report s.toml --fail-on critical" in refused.output
