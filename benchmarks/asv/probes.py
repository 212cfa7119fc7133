"""The cost of each probe on the sinusoid: counts of derivatives and operations, process time."""

from __future__ import annotations

import time
from unittest.mock import patch

import torch

import metabench as mb
from metabench.autodiff import derivatives as curvature

# Small, so that all of them take a minute; the number of calls is what is watched.
SETTINGS = {
    "agreement": {
        "tasks": 2, "at": (1, 2), "minimum_steps": 5, "rounds": 1, "budgets": (5,),
        "proximal_strengths": (), "truncate": 0,
    },
    "constants": {"tasks": 8, "redrawn_tasks": 4, "hessians": 2, "run": 2},
    "cost": {"tasks": 16, "steps": (1, 2), "sizes": (1, 2), "batch": 2, "rounds": 1},
    "explosion": {"tasks": 4, "steps": 5, "mitigated": 2},
    "spectrum": {"tasks": 4, "meta": 2, "nodes": 10},
    "variance": {"tasks": 128, "redrawn_tasks": 16},
    "verify": {"tasks": 1, "directions": 1},
}  # fmt: skip
# Every way by which a probe reaches a derivative.
GRADIENTS = ("gradient", "value_and_gradients")


class Probes:
    """One measurement by each probe, MAML with one inner step."""

    params = tuple(SETTINGS)
    param_names = ("probe",)
    timer = time.process_time
    timeout = 600

    def setup(self, name: str) -> None:
        """Make the probe and its subject."""
        torch.set_num_threads(1)
        family = mb.Sinusoid()
        self.probe = getattr(mb, name.capitalize())(**SETTINGS[name])
        self.subject = mb.Subject(
            family.problem(), family.sample, mb.MAML(1), family.theta(0).float()
        )

    def run(self) -> None:
        """Measure once."""
        self.probe.measure(self.subject, 0)

    def track_gradients(self, name: str) -> int:
        """Count gradients of losses; one of a chunk of tasks counts once."""
        return derivatives(self.run)[0]

    def track_products(self, name: str) -> int:
        """Count products with Hessians, Jacobians and their transposes, likewise."""
        return derivatives(self.run)[1]

    def track_operations(self, name: str) -> int:
        """Count aten operations."""
        return mb.work_of(self.run).operations

    def time_eager(self, name: str) -> None:
        """Take the process time of one measurement."""
        self.run()


def derivatives(run) -> tuple[int, int]:
    """Count the gradients that a call takes, and the sweeps for products."""
    counts = {"gradients": 0, "products": 0}

    def counted(function, what):
        def counting(*args, **kwargs):
            counts[what] += 1
            return function(*args, **kwargs)

        return counting

    def pulling(function):
        def vjp_of(*args):
            value, vjp = function(*args)
            return value, counted(vjp, "products")

        return vjp_of

    instead = {name: counted(getattr(curvature, name), "gradients") for name in GRADIENTS}
    instead["backward"] = counted(curvature.backward, "products")
    instead["vjp_of"] = pulling(curvature.vjp_of)
    with patch.multiple(curvature, **instead):
        run()
    return counts["gradients"], counts["products"]
