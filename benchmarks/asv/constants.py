"""What do the theory's constants cost? Sweeps and operations, counted, and process time."""

from __future__ import annotations

import time
from unittest.mock import patch

import torch

import metabench as mb
from metabench import curvature
from metabench.work import work_of


class ConstantsProbe:
    """Hessians of 8 and moments of 32 sinusoid tasks on four sets each, at two inner rates."""

    timer = time.process_time
    timeout = 600

    def setup(self) -> None:
        """Make the subject and a probe of few tasks."""
        torch.set_num_threads(1)
        family = mb.Sinusoid()
        self.probe = mb.Constants(tasks=32, hessians=8, redrawn=4, run=0)
        self.subject = mb.Subject(
            family.problem(), family.sample, mb.MAML(1), family.theta(0).float()
        )

    def run(self) -> None:
        """Measure once."""
        self.probe.measure(self.subject, 0)

    def track_products(self) -> int:
        """Count sweeps for products with the Hessians of a fleet."""
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
