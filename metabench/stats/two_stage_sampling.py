r"""Fresh tasks or redraws of the same tasks at equal cost? (NumPy and SciPy only).

A mean over n tasks, each averaged over R independent draws of its sets, has variance
:math:`(T + W / R) / n`, with T between tasks and W within them, and takes :math:`n (c_T + R c_W)`
seconds. The least variance a second is at :math:`R^* = \sqrt{c_T W / (c_W T)}`
(Cochran, 1977, Sampling Techniques, third edition, chapter 10).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metabench.stats.intervals import Estimate, jackknife_error, t_quantile


class Cost(NamedTuple):
    """Time to obtain a new task, and for each draw of its sets with its meta-gradient."""

    task: float  # [s]
    draw: float  # [s]

    def seconds(self, plan: Plan) -> float:
        """Return the seconds that a plan takes."""
        return plan.tasks * (self.task + plan.draws * self.draw)


class Plan(NamedTuple):
    """Number of tasks averaged over, and of draws of each task's sets."""

    tasks: int
    draws: int


def minimum_variance_plan(
    between: float, within: float, cost: Cost, budget: float, most: int
) -> Plan:
    """Return the plan of least variance within a budget of seconds.

    Args:
        between: variance between tasks, T.
        within: variance within a task, W.
        cost: of a task and of a draw.
        budget: seconds to spend.
        most: largest number of draws per task.

    Returns:
        The plan; 0 tasks where the budget is below the cost of one.
    """
    draws = np.arange(1, most + 1)
    tasks = np.floor(budget / (cost.task + draws * cost.draw) * (1 + 1e-12))
    if not tasks[0]:
        return Plan(0, 0)
    variance = (max(between, 0.0) + max(within, 0.0) / draws) / np.maximum(tasks, 1e-9)
    chosen = int(np.argmin(variance))  # of equals, the fewest draws
    return Plan(int(tasks[chosen]), int(draws[chosen]))


def plan_variance(between: Estimate, within: Estimate, plan: Plan) -> Estimate:
    """Return the variance of a plan, with its delete-one-task values.

    Args:
        between: variance between tasks, T.
        within: variance within a task, W.
        plan: tasks and draws of each.
    """
    return between.scaled(1 / plan.tasks) + within.scaled(1 / (plan.tasks * plan.draws))


def conservative_between(between: Estimate) -> float:
    """Return T to plan with: its upper limit where T is not distinguishable from zero.

    Planning with zero would put all draws on one task.
    """
    reach = t_quantile(len(between.left_out) - 1) * jackknife_error(between.left_out)
    return between.value if between.value > reach else max(between.value, 0.0) + reach
