"""Does a probe find what answers for it, beside it or in itself?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from metabench import InvalidInput, Row, Variance, to_table
from metabench.probes.base import Probe
from metabench.settings import registry

PACKAGE = {
    "__init__.py": """
from dataclasses import dataclass
from metabench.probes.base import Probe

@dataclass(frozen=True)
class Hello(Probe):
    times: int = 2
    question = "How many?"
    caption = "None."
    axis = ""
    shown = ("hello",)
""",
    "measure.py": """
import torch
from metabench.records.rows import Row

def measure(probe, subject, seed, progress):
    return [Row("hello", value=float(torch.tensor(probe.times + seed)))]
""",
    "find.py": """
from metabench.records.rows import Finding, from_table

def find(probe, table):
    (row,) = from_table(table, "hello")
    return [Finding("hello", "info", "", f"{row.value:.0f} of {probe.times}.", "", (row,))]
""",
    "draw.py": """
def draw(probe, table, axes):
    axes.append((probe.times, len(table)))
""",
}


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a probe; its name."""
    (tmp_path / "helloprobe").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "helloprobe" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "helloprobe:Hello"
    for name in [name for name in sys.modules if name.partition(".")[0] == "helloprobe"]:
        del sys.modules[name]


def test_a_probe_is_answered_for_by_the_modules_function_beside_it(hello):
    probe = registry.load("probes", hello)(times=5)

    rows = probe.measure(None, 1)
    (finding,) = probe.find(to_table(rows))
    axes = []
    (drawing,) = probe.drawings(to_table(rows))
    drawing.draw(axes)

    assert rows == [Row("hello", value=6.0)]
    assert finding.claim == "6 of 5."
    assert axes == [(5, 1)]
    assert drawing.shows == ("hello",)


def test_further_figures_come_from_more(hello, tmp_path):
    path = tmp_path / "helloprobe" / "draw.py"
    further = (
        "\nfrom metabench.probes.base import Drawing\n"
        "def more(probe, table):\n"
        "    return [Drawing(f'And {probe.times}?', '', None)]\n"
    )
    path.write_text(path.read_text() + further)

    first, second = registry.load("probes", hello)().drawings(to_table([Row("hello")]))

    assert (first.title, second.title) == ("How many?", "And 2?")


def test_a_subclass_elsewhere_keeps_what_it_does_not_override():
    @dataclass(frozen=True)
    class Terse(Variance):
        def find(self, table):
            return []

    table = to_table([Row("variance", at=1.0, value=2.0)])

    assert Terse().find(table) == []
    assert Terse().drawings(table)[0].shows == Variance.shown
    with pytest.raises(ValueError, match="unpack"):  # Variance's own, which asks for more rows
        Variance().find(to_table([Row("nothing")]))


def test_a_probe_that_answers_nothing_says_how_to_write_the_answer():
    class Silent(Probe):
        question = caption = axis = ""

    with pytest.raises(InvalidInput, match="Silent has no 'find': write it as a method, or, if"):
        Silent().find(to_table([Row("x")]))


def test_only_measuring_imports_torch():
    code = (
        "import sys; import pandas; from metabench.settings import registry; "
        "probes = [registry.load('probes', name)() for name in registry.members('probes')]; "
        "from metabench.probes.base import _function_beside; "
        "[_function_beside(p, each, each).__name__ for p in probes for each in ('find', 'draw')]; "
        "assert 'torch' not in sys.modules; "
        "[_function_beside(p, 'measure', 'measure').__name__ for p in probes]; "
        "assert 'torch' in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", registry.members("probes"))
def test_every_probe_says_what_its_first_figure_shows(name):
    """A finding is linked to a figure only by the quantities that the figure shows."""
    assert registry.load("probes", name).shown
