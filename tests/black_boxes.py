"""A meta-gradient written by hand, its problem, and its tasks: what is measured from outside."""

from __future__ import annotations

import cases
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.functional import mse_loss as mse

from metabench.estimation.estimator_on_tasks import Subject
from metabench.problems.problem import Problem
from metabench.problems.tasks import Address, Task

STEPS, RATE = 3, 0.1
torch.manual_seed(0)  # the same weights whichever modules were imported before
NET = cases.net("plain")
PROBLEM = Problem.from_module(NET, mse)


def draw(address: Address, seed: int) -> Task:
    """Addressed tasks whose x differ in every address."""
    tasks = [cases.one(cases.tasks(1, seed=1000 * seed + int(i)), 0) for i in address.task]
    return Task(
        *(tuple(torch.stack([task[part][i] for task in tasks]) for i in (0, 1)) for part in (0, 1))
    )


def subject(algorithm, problem=PROBLEM) -> Subject:
    return Subject(problem, draw, algorithm, problem.theta)


def plain_loop(theta, task, create_graph=True):
    """MAML by torch.autograd, as in many a repository."""
    start = {name: value.requires_grad_() for name, value in theta.items()}
    phi = start
    for _ in range(STEPS):
        loss = mse(functional_call(NET, phi, (task.support[0],)), task.support[1])
        gradients = torch.autograd.grad(loss, list(phi.values()), create_graph=create_graph)
        phi = {n: v - RATE * g for (n, v), g in zip(phi.items(), gradients, strict=True)}
    outer = mse(functional_call(NET, phi, (task.query[0],)), task.query[1])
    return outer, torch.autograd.grad(outer, list(start.values()))


def batched(theta, tasks):
    """The mean over tasks, each differentiated inside the vmap."""

    def one(theta, support, query):
        phi = theta
        for _ in range(STEPS):
            gradients = grad(lambda p: mse(functional_call(NET, p, (support[0],)), support[1]))
            phi = {name: phi[name] - RATE * gradient for name, gradient in gradients(phi).items()}
        return mse(functional_call(NET, phi, (query[0],)), query[1])

    grads = vmap(grad(one), in_dims=(None, 0, 0))(theta, tasks.support, tasks.query)
    return {name: value.mean(0) for name, value in grads.items()}
