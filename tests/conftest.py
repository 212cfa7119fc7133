"""What every test begins with, and how many seconds of processor time each took."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from typing import Any

import pytest
import torch
from record_schema import require_valid

from metabench.records import record

torch.set_num_threads(1)  # tests are small, and several processes share the cores

SECONDS = "processor seconds"


@pytest.fixture(autouse=True)
def _every_record_keeps_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever command makes one in this process, it passes through `sealed`."""
    sealed = record.sealed

    def held(made: Mapping[str, Any]) -> dict[str, Any]:
        whole = sealed(made)
        require_valid(whole)
        return whole

    monkeypatch.setattr(record, "sealed", held)


@pytest.fixture(autouse=True)
def _same_weights_whichever_tests_ran_before() -> None:
    """Networks built in a test draw from torch's global generator."""
    torch.manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "show the N tests that took most processor time, their ended subprocesses included"
    parser.addoption("--processor-time", type=int, metavar="N", help=text)


def used() -> float:
    """Of this process and of the subprocesses that it has waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever a test shares is counted for the first that asks for it."""
    item.user_properties.append((SECONDS, -used()))
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown":
        began = dict(item.user_properties)[SECONDS]
        report.user_properties = [(SECONDS, used() + began)]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    count = terminalreporter.config.getoption("--processor-time")
    if count is None:
        return
    reports = [r for some in terminalreporter.stats.values() for r in some if hasattr(r, "when")]
    taken = {
        report.nodeid: dict(report.user_properties)[SECONDS]
        for report in reports
        if report.when == "teardown"
    }
    terminalreporter.section(f"{sum(taken.values()):.0f} s of processor time in tests")
    for name in sorted(taken, key=taken.get, reverse=True)[:count]:
        terminalreporter.line(f"{taken[name]:7.2f} s  {name}")
