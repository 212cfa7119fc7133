"""Does `--fail-on` make the exit code 1 for what it names, what follows, and nothing else?"""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import metabench

from metabench.cli.fail_on import fails
from metabench.records.rows import Finding
from metabench.records.severity import SEVERITIES

# One finding, at the level and in the state that the environment of the test asks for.
SAYS = """
from dataclasses import dataclass
from typing import ClassVar

import metabench as mb


@dataclass(frozen=True)
class Says(mb.Probe):
    level: str = "info"
    state: str = "fine"
    axis: ClassVar[str] = "B"
    question: ClassVar[str] = "?"
    caption: ClassVar[str] = ""

    def measure(self, subject, seed, progress=None):
        return [mb.Row("noise_scale", value=6.8)]

    def find(self, table):
        return [mb.Finding("said", self.level, self.state, "It is so.", "Change it.", ())]

    def draw(self, table, axes):
        pass
"""
GRADIENT = """
import torch
import metabench as mb

net = torch.nn.Linear(2, 1)


def draw(index, seed):
    noise = torch.Generator().manual_seed(1000 * seed + int(index))
    x = torch.randn(8, 2, generator=noise)
    y = x.sum(1, keepdim=True) * torch.randn(1, generator=noise)
    return (x[:4], y[:4]), (x[4:], y[4:])


def sample(indices, seed):
    return torch.utils.data.default_collate([draw(i, seed) for i in indices])


problem = mb.Problem.from_module(net, torch.nn.functional.mse_loss, tasks=mb.Indexed(sample))


def estimate(theta, task):
    support, query = task.support, task.query

    def loss(theta, data):
        prediction = torch.func.functional_call(net, theta, (data[0],))
        return torch.nn.functional.mse_loss(prediction, data[1])

    def outer(theta):
        inner = torch.func.grad(loss)(theta, support)
        return loss({k: theta[k] - 0.1 * inner[k] for k in theta}, query)

    return outer(theta), torch.func.grad(outer)(theta)


def negated(theta, task):
    value, grad = estimate(theta, task)
    return value, {name: -part for name, part in grad.items()}


right, wrong = mb.BlackBox(estimate), mb.BlackBox(negated)
"""

FINDINGS = {  # (level, state): the values of --fail-on that leave exit code 0
    ("info", "fine"): SEVERITIES,
    ("info", ""): SEVERITIES,
    ("info", "fault"): SEVERITIES,  # of a method that is not in use
    ("info", "not_looked_at"): ("undecided", "warning", "critical"),
    ("info", "undecided"): ("warning", "critical"),
    ("warning", "undecided"): ("critical",),
    ("warning", "fault"): ("critical",),
    ("critical", "fault"): (),
}


@pytest.mark.parametrize("least", SEVERITIES)
@pytest.mark.parametrize(("level", "state"), FINDINGS)
def test_a_finding_fails_at_its_severity_and_at_every_lower_one(level, state, least):
    found = [Finding("fine", "info", "fine", "", "", ()), Finding("it", level, state, "", "", ())]

    assert fails(found, least) == (least not in FINDINGS[level, state])
    assert not fails(found, None)


def test_what_was_not_measured_was_not_looked_at():
    assert [fails([], least, 1) for least in SEVERITIES] == [True, False, False, False]
    assert not fails([], "not_looked_at")


def own_probe(*options, level, state):
    Path("says.py").write_text(SAYS)
    given = ("--family", "quadratic", f"--set=probe.level={level}", f"--set=probe.state={state}")
    return metabench("probe", "says.py:Says", *given, *options)


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_probe_of_ones_own_fails_at_the_severity_asked_for(json):
    undecided = {"level": "info", "state": "undecided"}

    assert own_probe(*json, **undecided).exit_code == 0
    assert own_probe(*json, "--fail-on", "undecided", **undecided).exit_code == 1
    assert own_probe(*json, "--fail-on", "warning", **undecided).exit_code == 0


def test_the_state_stands_before_the_claim():
    said = {s: own_probe(level="info", state=s).stdout for s in ("fine", "not_looked_at")}

    assert "INFO  fine: It is so." in said["fine"]
    assert "INFO  not looked at: It is so." in said["not_looked_at"]


@pytest.mark.parametrize(("algo", "code"), [("right", 0), ("wrong", 1)])
def test_verify_fails_on_a_wrong_gradient_only(algo, code):
    Path("my.py").write_text(GRADIENT)
    asked = ("verify", "--algo", f"my.py:{algo}", "--problem", "my.py:problem")

    assert metabench(*asked).exit_code == 0
    assert metabench(*asked, "--fail-on", "warning").exit_code == code


def test_a_report_fails_by_the_findings_of_its_cells():
    tables = []
    for state in ("fine", "undecided"):
        own_probe("--csv", f"{state}.csv", level="info", state=state)
        tables.append(f"{state}.csv")
    trust = ("--trust", "says.py:Says")

    assert metabench("report", tables[0], *trust).exit_code == 0
    assert metabench("report", *tables, *trust, "--fail-on", "undecided").exit_code == 1
    assert metabench("report", *tables, *trust, "--fail-on", "warning").exit_code == 0
    page = Path("page.html").read_text(encoding="utf-8")
    assert "info, undecided: said, in 1 of 2 cells" in page
    assert "info, fine: said, in 1 of 2 cells" in page


def test_a_training_that_stops_keeps_its_own_code():
    diverging = ("--set", "algo.inner_optimizer.rate=1e30", "--steps", "2", "--set", "algo.steps=5")

    assert metabench("train", *diverging, "--fail-on", "critical").exit_code == 3
