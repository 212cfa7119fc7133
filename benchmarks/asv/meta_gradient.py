"""The cost of one meta-gradient, in counts, which do not depend on load, and in time."""

from __future__ import annotations

import time
from unittest.mock import patch

import torch

import metabench as mb
from metabench.autodiff import derivatives as curvature

TASKS = 25


class MetaGradient:
    """The sinusoid's meta-gradient over 25 tasks, by algorithm (with what it stores) and K."""

    params = (["maml none", "maml sqrt", "fomaml"], [5])
    param_names = ("algorithm", "K")
    timer = time.process_time
    timeout = 600

    def setup(self, algorithm: str, steps: int) -> None:
        """Draw the tasks and vectorize the algorithm, eagerly."""
        torch.set_num_threads(1)
        self.run, self.theta, self.tasks = meta_gradient(algorithm, steps)

    def track_operations(self, algorithm: str, steps: int) -> int:
        """Count aten operations."""
        return self._work().operations

    def track_megaflops(self, algorithm: str, steps: int) -> float:
        """Count floating-point operations of matrix products, in millions."""
        return self._work().flops / 1e6

    def track_saved_bytes(self, algorithm: str, steps: int) -> int:
        """Count the bytes that live at once."""
        return self._work().bytes

    def track_gradients(self, algorithm: str, steps: int) -> int:
        """Count gradients of the inner loss."""
        return derivatives(self.run, self.theta, self.tasks)[0]

    def track_hessian_products(self, algorithm: str, steps: int) -> int:
        """Count vector products with the Hessian of the inner loss."""
        return derivatives(self.run, self.theta, self.tasks)[1]

    def time_eager(self, algorithm: str, steps: int) -> None:
        """Take the process time of one call."""
        self.run(self.theta, self.tasks)

    def _work(self):
        return mb.work_of(self.run, self.theta, self.tasks)


def meta_gradient(algorithm: str, steps: int):
    """Return a vectorized meta-gradient with its theta and tasks."""
    family = mb.Sinusoid()
    name, _, rematerialize = algorithm.partition(" ")
    made = mb.MAML(steps, rematerialize=rematerialize) if name == "maml" else mb.FOMAML(steps)
    subject = mb.Subject(family.problem(), family.sample, made, family.theta(0).float())
    problem = subject.problem
    run = mb.Vectorization("vmap", engine="eager").per_task(
        lambda at, task: made(problem, at, task)
    )
    return run, subject.theta, subject.draw(mb.Address.fresh(0, TASKS), 0)


def derivatives(run, theta: torch.Tensor, tasks: mb.Task) -> tuple[int, int]:
    """Count the inner gradients that a call takes, and the products with their derivatives."""
    counts = {"gradients": 0, "products": 0}
    vjp_of = curvature.vjp_of

    def counting(function, *primals):
        value, vjp = vjp_of(function, *primals)

        def pulled(cotangent):
            # An inner step has arguments phi, slots and theta; `init` has theta alone.
            counts["products"] += len(primals) > 1
            return vjp(cotangent)

        return value, pulled

    def gradient(*args):
        counts["gradients"] += 1
        return curvature_gradient(*args)

    curvature_gradient = curvature.gradient
    with (
        patch.object(curvature, "vjp_of", counting),
        patch.object(curvature, "gradient", gradient),
    ):
        run(theta, tasks)
    return counts["gradients"], counts["products"]
