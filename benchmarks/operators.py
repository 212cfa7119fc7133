"""The same eigenvalues and densities by metabench, and by other libraries for Hessians.

Each is a function of a task's module and data, or of all tasks at once for metabench, and of an
effort: what that library is asked for, in its own terms. A library that isn't installed is left
out, and said.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import metabench as mb
from metabench.autodiff import per_task_products
from metabench.linalg.lanczos import Ritz, lanczos
from metabench.problems import architectures

TOP = 5  # eigenvalues, the largest in size
STEPS = [10, 12, 15, 17, 20, 25, 30, 35, 40, 45, 50, 60, 80, 100]  # of a Lanczos run


class TaskBatch(NamedTuple):
    """Nets of one shape with a point and data each, as a user of any library would hold them."""

    name: str
    problem: mb.Problem
    nets: list[nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    phis: Tensor  # (T, P)
    data: tuple[Tensor, Tensor]  # leading T

    def each(self) -> list[tuple[nn.Module, Tensor, Tensor]]:
        """Return the net with x and y of each task."""
        return list(zip(self.nets, *self.data, strict=True))

    @property
    def how(self) -> str:
        """One net gains nothing from a vmap."""
        return "loop" if len(self.nets) == 1 else "vmap"

    def operator(self) -> Callable[[Tensor], Tensor]:
        """Return metabench's products, one graph for all tasks."""
        return per_task_products.per_task_hvp(
            self.problem.inner_loss, self.phis, self.phis[0], self.data, self.how
        )


def task_batch(
    name: str, net: nn.Module, loss: Callable, data: tuple[Tensor, Tensor], theta: Tensor
) -> TaskBatch:
    """Create tasks with a phi near theta each, as after inner steps."""
    tasks, noise = len(data[0]), torch.Generator().manual_seed(1)
    phis = theta + 0.01 * torch.randn(tasks, len(theta), generator=noise)
    layout, made = mb.Layout.from_tensors(dict(net.named_parameters())), []
    for phi in phis:
        own = copy.deepcopy(net)
        own.load_state_dict(layout.unflatten(phi), strict=False)
        made.append(own)
    return TaskBatch(name, mb.Problem.from_module(net, loss), made, loss, phis, data)


Contender = Callable[[TaskBatch, Any], Tensor]  # to the top eigenvalues in size, (T, TOP)


def metabench(of: TaskBatch, steps: int) -> Tensor:
    """Return the eigenvalues after `steps` batched Lanczos steps."""
    return top(lanczos(of.operator(), start(of), steps).values)


def metabench_by_bound(of: TaskBatch, tolerance: float) -> Tensor:
    """Take batched Lanczos steps until the residual bounds of the five are within the tolerance."""

    def enough(ritz: Ritz) -> bool:
        sizes, order = ritz.values.abs().sort(1, descending=True)
        bounds = ritz.bounds.gather(1, order[:, :TOP])
        few = sizes.shape[1] < TOP
        return not few and bool((bounds <= tolerance * sizes[:, :1]).all())

    return top(lanczos(of.operator(), start(of), 300, enough).values)


def eigenthings(of: TaskBatch, steps: int) -> Tensor:
    """noahgolmant/pytorch-hessian-eigenthings: its Lanczos, so many steps, reorthogonalized."""
    import hessian_eigenthings as library

    loss = library.supervised_loss(of.loss)
    found = []
    for net, x, y in of.each():
        operator = library.HessianOperator(net, [(x, y)], loss)
        found.append(library.lanczos(operator, k=TOP, max_iter=steps, reorthogonalize=True, seed=0))
    return torch.stack([top(one.eigenvalues) for one in found])


def pyhessian(of: TaskBatch, tolerance: float) -> Tensor:
    """amirgholami/PyHessian: power iteration with deflation."""
    found = []
    for net, x, y in of.each():
        found.append(torch.tensor(_pyhessian(of, net, x, y).eigenvalues(1000, tolerance, TOP)[0]))
    return torch.stack([top(values) for values in found])


def curvlinops(of: TaskBatch, tolerance: float) -> Tensor:
    """f-dangel/curvlinops: its operator, by SciPy's eigsh as its documentation has it."""
    from scipy.sparse.linalg import eigsh

    found = []
    for net, x, y in of.each():
        operator = _curvlinops(of, net, x, y).to_scipy()
        v0 = np.random.default_rng(0).standard_normal(operator.shape[0]).astype(np.float32)
        found.append(
            eigsh(operator, TOP, which="LM", tol=tolerance, return_eigenvectors=False, v0=v0)
        )
    return torch.stack([top(torch.from_numpy(values.copy())) for values in found])


# What each is asked for, the least first: the first that is accurate enough is timed.
EIGENVALUES: dict[str, tuple[Contender, list[Any]]] = {
    "metabench": (metabench, STEPS),
    "metabench, by its bound": (metabench_by_bound, [1e-1, 5e-2, 3e-2, 2e-2, 1e-2, 3e-3, 1e-3]),
    "pytorch-hessian-eigenthings": (eigenthings, STEPS),
    "PyHessian": (pyhessian, [1e-2, 3e-3, 1e-3, 1e-4]),
    "curvlinops": (curvlinops, [1e-1, 3e-2, 1e-2, 1e-3, 1e-4]),
}


def density_by_metabench(of: TaskBatch, steps: int) -> Any:
    """Take so many Lanczos steps from one vector a task: nodes and weights."""
    ritz = lanczos(of.operator(), start(of), steps)
    return ritz.values, ritz.weights


def density_by_eigenthings(of: TaskBatch, steps: int) -> Any:
    """Run its stochastic Lanczos quadrature once a task."""
    import hessian_eigenthings as library

    loss = library.supervised_loss(of.loss)
    return [
        library.spectral_density(
            library.HessianOperator(net, [(x, y)], loss), num_runs=1, lanczos_steps=steps
        )
        for net, x, y in of.each()
    ]


def density_by_pyhessian(of: TaskBatch, steps: int) -> Any:
    """Run its density with today's name for `torch.eig`, without which the release fails."""
    torch.eig = _eig  # type: ignore[attr-defined]
    return [_pyhessian(of, net, x, y).density(steps, 1) for net, x, y in of.each()]


def density_by_curvlinops(of: TaskBatch, steps: int) -> Any:
    """Run its Lanczos, which does not reorthogonalize, without its search for the bounds."""
    from curvlinops.papyan2020traces.spectrum import lanczos_approximate_spectrum

    return [
        lanczos_approximate_spectrum(_curvlinops(of, net, x, y), steps, boundaries=(-10.0, 100.0))
        for net, x, y in of.each()
    ]


DENSITIES: dict[str, Callable[[TaskBatch, int], Any]] = {
    "metabench": density_by_metabench,
    "pytorch-hessian-eigenthings": density_by_eigenthings,
    "PyHessian": density_by_pyhessian,
    "curvlinops": density_by_curvlinops,
}


def installed(of: TaskBatch, without: list[str]) -> list[str]:
    """List the contenders that can run here, except those in `without`."""
    names = []
    for name, (run, efforts) in EIGENVALUES.items():
        if name in without:
            continue
        try:
            run(of, efforts[0])
            names.append(name)
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return names


def start(of: TaskBatch) -> Tensor:
    """Draw a start vector for every task, `(T, P)`."""
    return torch.randn(of.phis.shape, generator=torch.Generator().manual_seed(0))


def top(values: Tensor) -> Tensor:
    """Return the five largest in absolute value, in descending order."""
    order = values.abs().argsort(-1, descending=True)[..., :TOP]
    return values.gather(-1, order)


def _pyhessian(of: TaskBatch, net: nn.Module, x: Tensor, y: Tensor) -> Any:
    from pyhessian import hessian

    net.zero_grad(set_to_none=True)
    return hessian(net, of.loss, data=(x, y), cuda=False)


def _curvlinops(of: TaskBatch, net: nn.Module, x: Tensor, y: Tensor) -> Any:
    from curvlinops import HessianLinearOperator

    loss = nn.MSELoss() if of.data[1].is_floating_point() else nn.CrossEntropyLoss()
    parameters = [value for value in net.parameters() if value.requires_grad]
    return HessianLinearOperator(net, loss, parameters, [(x, y)], check_deterministic=False)


def _eig(matrix: Tensor, eigenvectors: bool = True) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack([values, torch.zeros_like(values)], 1), vectors


def sinusoids(tasks: int) -> TaskBatch:
    """Ten shots each of the MAML paper's sinusoids, 1-40-40-1."""
    family = mb.Sinusoid()
    theta = family.theta(0).float()
    subject = mb.Subject(family.problem(), family.sample, mb.MAML(), theta)
    drawn = subject.draw(mb.Address.fresh(0, tasks), 0)
    name = f"{tasks} sinusoid tasks"
    return task_batch(
        name, architectures.mlp((1, 40, 40, 1)), nn.functional.mse_loss, drawn.support, theta
    )


def classifier(sizes: tuple[int, ...], examples: int) -> TaskBatch:
    """One ReLU net on clusters."""
    noise = torch.Generator().manual_seed(0)
    y = torch.arange(examples) % sizes[-1]
    centers = torch.randn(sizes[-1], sizes[0], generator=noise)
    x = centers[y] + torch.randn(examples, sizes[0], generator=noise)
    net = architectures.mlp(sizes)
    theta = architectures.initial_parameters(net, 0).float()
    name = f"one net of {len(theta) / 1000:.0f}k"
    return task_batch(name, net, nn.functional.cross_entropy, (x[None], y[None]), theta)


def conv4() -> TaskBatch:
    """One Conv-4 of 32 filters on 25 images of 28x28, batch norm by the batch."""
    net, noise = architectures.conv(4, 32, 5, 28), torch.Generator().manual_seed(0)
    x = torch.randn(25, 1, 28, 28, generator=noise)
    data = x[None], (torch.arange(25) % 5)[None]
    theta = architectures.initial_parameters(net, 0).float()
    return task_batch("Conv-4", net, nn.functional.cross_entropy, data, theta)


PROBLEMS: dict[str, Callable[[], TaskBatch]] = {
    "tasks": lambda: sinusoids(32),
    "10k": lambda: classifier((64, 100, 30, 10), 256),
    "200k": lambda: classifier((64, 410, 410, 10), 256),
    "conv4": conv4,
}
