"""Is a device idle at both readings of the clock?"""

from __future__ import annotations

import pytest
import torch

from metabench.autodiff import stopwatch
from metabench.autodiff.stopwatch import seconds_of, synchronize

GPU = torch.device("cuda", 1)


class Device:
    """Work that a call queues and that runs when waited for, as on a GPU."""

    def __init__(self):
        self.now = 0.0
        self.queued = 0.0
        self.asked = []

    def launch(self, seconds):
        self.now += 0.001  # the launch itself
        self.queued += seconds

    def wait(self, device):
        self.asked.append(device)
        self.now += self.queued
        self.queued = 0.0

    def clock(self):
        return self.now


def test_queued_work_of_the_call_is_timed_and_earlier_work_is_not():
    device = Device()
    device.launch(100.0)

    seconds = seconds_of(lambda: device.launch(2.0), GPU, wait=device.wait, clock=device.clock)

    assert seconds == pytest.approx(2.001)
    assert device.asked == [GPU, GPU]


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)

    for device in (torch.device("cpu"), torch.device("meta"), GPU, torch.device("mps")):
        synchronize(device)

    assert waited == [GPU, torch.device("mps")]


def test_an_exception_of_the_call_is_raised():
    def fails():
        raise MemoryError

    with pytest.raises(MemoryError):
        seconds_of(fails, torch.device("cpu"))


@pytest.mark.parametrize("probe", ["agreement", "cost", "variance"])
def test_every_probe_that_reports_seconds_uses_the_stopwatch(probe):
    module = {"agreement": "timing", "variance": "measure_seconds"}.get(probe, "measure")
    held = __import__(f"metabench.probes.{probe}.{module}", fromlist=["seconds_of"])

    assert held.seconds_of is stopwatch.seconds_of
