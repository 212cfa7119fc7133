"""What does a spectrum cost? Hessian products and operations, counted, and process time."""

from __future__ import annotations

import time
from unittest.mock import patch

import torch

import metabench as mb
from metabench import curvature
from metabench.work import work_of


class SpectrumProbe:
    """The spectra of 32 sinusoid tasks at both ends of the loop, expected Hessians included."""

    timer = time.process_time
    timeout = 600

    def setup(self) -> None:
        """Make the subject and a probe of few products."""
        torch.set_num_threads(1)
        family = mb.Sinusoid()
        self.probe = mb.Spectrum(tasks=32, meta=16, nodes=20)
        self.subject = mb.Subject(
            family.problem(), family.sample, mb.MAML(1), family.theta(0).float()
        )

    def run(self) -> None:
        """Measure once."""
        self.probe.measure(self.subject, 0)

    def track_products(self) -> int:
        """Count sweeps for products: with Hessians of a fleet, Jacobians and their transposes."""
        slope, count = curvature._slope, 0

        def counting(*args, **kwargs):
            nonlocal count
            count += 1
            return slope(*args, **kwargs)

        with patch.object(curvature, "_slope", counting):
            self.run()
        return count

    def track_operations(self) -> int:
        """Count aten operations."""
        return work_of(self.run).operations

    def time_eager(self) -> None:
        """Take the process time of one measurement."""
        self.run()
