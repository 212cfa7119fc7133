"""A plugin of pytest: how many seconds of processor time did each test take?"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

SECONDS = "processor seconds"


def used() -> float:
    """Of this process and of the subprocesses that it has waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Whatever several share is counted for the first that asks for it."""
    item.user_properties.append((SECONDS, -used()))
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The process that ran the test counts; to xdist's controller no beginning is left."""
    began = dict(report.user_properties).get(SECONDS, 0)
    if report.when == "teardown" and began < 0:
        report.user_properties = [(SECONDS, used() + began)]


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
