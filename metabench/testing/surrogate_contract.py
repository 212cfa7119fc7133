"""Contract of surrogates: shapes, and the policy gradient at first order."""

from __future__ import annotations

import torch
from torch import Tensor

from metabench.autodiff import derivatives
from metabench.estimation.vectorization import Vectorization
from metabench.problems.reinforcement.surrogates.surrogate import Surrogate
from metabench.problems.tasks import Task
from metabench.testing.expectations import TASKS, expect, expect_refused, expect_same

TRAJECTORIES, HORIZON = 4, 5


def check_surrogate(surrogate: Surrogate, seed: int = 0) -> None:
    """Check a surrogate against its contract, in float64.

    One number a trajectory; its derivative in each log-probability is the advantage, whatever the
    baseline; trajectories don't depend on each other; vmap equals a loop. What it is at second
    order is for `metabench verify` to say, since biased ones are in use.
    """
    expect_refused(surrogate)
    generator = torch.Generator().manual_seed(seed)
    shape = (3, TASKS, TRAJECTORIES, HORIZON)
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
    logs, returns, baselines = -drawn[0].abs(), drawn[1], drawn[2]
    found = surrogate(logs[0], returns[0], baselines[0])
    right = tuple(found.shape) == (TRAJECTORIES,)
    expect(right, f"a surrogate has shape {tuple(found.shape)}, not ({TRAJECTORIES},)")

    def slopes(logs: Tensor, data: Task) -> Tensor:
        def total(logs: Tensor, _: Tensor, data: Task) -> Tensor:
            return surrogate(logs, data.support, data.query).sum()

        return derivatives.gradient(total, logs, logs, data)

    advantages = returns[0] - baselines[0]
    sentence = "its derivative in the log-probabilities isn't returns minus baselines"
    expect_same(slopes(logs[0], Task(returns[0], baselines[0])), advantages, 1e-9, sentence)
    alone = surrogate(logs[0, :1], returns[0, :1], baselines[0, :1])
    expect_same(found[:1], alone, 1e-12, "a trajectory's surrogate depends on the others")
    together, apart = (
        Vectorization(how).per_task(slopes)(logs[0], Task(returns, baselines))
        for how in ("vmap", "loop")
    )
    expect_same(together, apart, 1e-10, "vmap and a loop over tasks differ")
