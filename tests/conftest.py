"""What every test begins with."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)  # tests are small, and several processes share the cores


@pytest.fixture(autouse=True)
def _same_weights_whichever_tests_ran_before() -> None:
    """Networks built in a test draw from torch's global generator."""
    torch.manual_seed(0)
