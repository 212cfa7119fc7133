"""What every test begins with, and the option that lists where processor time goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import processor_time
import pytest
import torch
from record_schema import require_valid

from metabench.records import record

torch.set_num_threads(1)  # tests are small, and several processes share the cores


@pytest.fixture(autouse=True)
def _every_record_keeps_the_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever command makes one in this process, it passes through `with_checksum`."""
    with_checksum = record.with_checksum

    def checked(made: Mapping[str, Any]) -> dict[str, Any]:
        whole = with_checksum(made)
        require_valid(whole)
        return whole

    monkeypatch.setattr(record, "with_checksum", checked)


@pytest.fixture(autouse=True)
def _same_weights_whichever_tests_ran_before() -> None:
    """Networks built in a test draw from torch's global generator."""
    torch.manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "show the N tests that took most processor time, their ended subprocesses included"
    parser.addoption("--processor-time", type=int, metavar="N", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """As a plugin its hooks also hear of the examples in the package's docstrings."""
    config.pluginmanager.register(processor_time)
