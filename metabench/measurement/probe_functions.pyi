"""Functions of the listed probes; written by tests/probe_stubs.py, not by hand."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from metabench.measurement.from_objects import GivenAlgorithm, GivenProblem
from metabench.measurement.result import Result
from metabench.probes.base import Progress
from metabench.problems.checkpoints import Weights

def probe_function(name: str) -> Callable[..., Result]:
    """Return the function of a listed probe."""

def __getattr__(name: str) -> Callable[..., Result]:
    """Return the function of a listed probe."""

def agreement(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    at: tuple[int, ...] = (1, 2, 5, 10, 20, 40),
    proximal_strength: float = -1.0,
    proximal_strengths: tuple[float, ...] = (4.0,),
    solvers: tuple[str, ...] = ("cg",),
    budgets: tuple[int, ...] = (1, 5, 20),
    truncate: int = 5,
    minimum_steps: int = 300,
    rounds: int = 3,
) -> Result:
    """Error and cost of unrolled, implicit, first-order meta-gradients.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks to draw; every method runs on the same ones [tasks]
        at: values of K; algo.steps is added [steps]
        proximal_strength: lambda; -1: that of imaml if it is measured, or 2 [curvature]
        proximal_strengths: further lambdas at largest K, as multiples [1]
        solvers: linear solvers; dense up to 200 parameters [names]
        budgets: numbers of steps of each iterative solver [products]
        truncate: last steps of truncated backpropagation; 0: leave it out [steps]
        minimum_steps: gradient descent steps to find the inner minimum [steps]
        rounds: how often each method is timed [calls]

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.agreement("sinusoid", algo="maml")
    """

def constants(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    redrawn_tasks: int = 8,
    hessians: int = 32,
    batch: int = 25,
    precision: float = 0.5,
    floor: float = 0.0,
    run: int = 100,
    budget: float = 30000000000.0,
) -> Result:
    """Compare MAML's convergence theory with measurements at theta.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks from which moments and variances are estimated [tasks]
        redrawn_tasks: support and query sets per task, an even number >= 4 [sets]
        hessians: maximum number of tasks whose Hessians are measured [tasks]
        batch: your task batch B, for the floor of |grad F|^2 [tasks]
        precision: epsilon of the iteration bound, as a share of |grad F| at theta [1]
        floor: a lower bound of the expected outer loss, for the iteration bound [loss]
        run: maximum outer steps to take at the theory's rate; 0: none [steps]
        budget: limit for moments, and for Hessians; beyond: fewer tasks [operations]

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.constants("sinusoid", algo="maml")
    """

def cost(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    steps: tuple[int, ...] = (1, 5, 20),
    sizes: tuple[int, ...] = (1, 5, 25, 100),
    batch: int = 25,
    rounds: int = 7,
) -> Result:
    """Seconds, memory and error of every algorithm's meta-gradient.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks from which variance and bias are estimated [tasks]
        steps: values of K to time; algo.steps is added [steps]
        sizes: task batches B for time and error [tasks]
        batch: your task batch B, to which findings refer [tasks]
        rounds: how often each algorithm is timed, taking turns [calls]

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.cost("sinusoid", algo="maml")
    """

def explosion(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    steps: int = 200,
    at: tuple[int, ...] = (),
    directions: int = 3,
    rounds: int = 2,
    mitigated: int = 50,
    precision: bool = True,
) -> Result:
    """Growth of the exact meta-gradient with K, and its causes.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        steps: largest K to measure; algo.steps if that is larger [steps]
        tasks: tasks to unroll; as many more are held out [tasks]
        at: values of K and algo.steps; empty: 0, 1, 2, 5, .. steps [steps]
        directions: leading Lyapunov exponents to compute; 0: none [exponents]
        rounds: passes of the iteration for these exponents, 1 or more [rounds]
        mitigated: K at which mitigations are tried, up to steps; 0: none [steps]
        precision: unroll in the other of float32 and float64, too

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.explosion("sinusoid", algo="maml")
    """

def spectrum(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    tolerance: float = 0.01,
    steps: int = 100,
    nodes: int = 40,
    vectors: int = 8,
    exact: int = 128,
    meta: int = 96,
    outer_rate: float = 0.0,
    layers: int = 12,
) -> Result:
    """Eigenvalues of inner Hessians, and which rates are stable.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks whose spectra are measured [tasks]
        tolerance: residual of extreme eigenvalues over the larger in size [1]
        steps: maximum Hessian products per task and start vector [products]
        nodes: minimum number of quadrature nodes of a density [products]
        vectors: random vectors per task, for its trace [vectors]
        exact: parameters up to which all eigenvalues are computed exactly [parameters]
        meta: most tasks for the meta-Hessian and d phi_K / d theta; 0: none [tasks]
        outer_rate: your rate of plain outer descent, to judge; 0: none [1/curvature]
        layers: most layers whose Hessian block is measured; 0: none [layers]

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.spectrum("sinusoid", algo="maml")
    """

def variance(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    batches: int = 128,
    sizes: tuple[int, ...] = (),
    batch: int = 25,
    redrawn_tasks: int = 512,
    shot_multiples: int = 16,
    memory: str = "half",
    budget: str = "",
    clip_norm: float = math.inf,
    clip_value: float = math.inf,
    outer_optimizer: str = "",
    compare_with: tuple[str, ...] = (),
) -> Result:
    """Variance of the meta-gradient by batch size, and noise scale.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks at B = 1, and the most at any other B [tasks]
        batches: maximum number of batches at each B above 1 [batches]
        sizes: values of B; empty: powers of 2 up to 64 and tasks / 16 [tasks]
        batch: your task batch B, to which findings refer [tasks]
        redrawn_tasks: tasks to redraw, for sources and biases; 0: none [tasks]
        shot_multiples: most shots for the objective gap, as a multiple; 0: none [1]
        memory: memory limit: 4GiB, or half of what is free [bytes]
        budget: time or tasks of one meta-gradient, for advice: 30s or 200tasks; empty: none
        clip_norm: outer clipping: largest norm of a batch's mean [gradient norm]
        clip_value: outer clipping: largest entry of a batch's mean [gradient entry]
        outer_optimizer: optimizer whose updates are measured: sgd, adam, ..; empty: none
        compare_with: further algorithms with this inner loop [algorithms]

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.variance("sinusoid", algo="maml")
    """

def verify(
    problem: GivenProblem = "sinusoid",
    *,
    algo: GivenAlgorithm = "maml",
    theta: Weights | None = None,
    tasks: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    settings: Mapping[str, Any] | None = None,
    progress: Progress = ...,
    directions: int = 3,
    thorough: bool = True,
) -> Result:
    """Check the meta-gradient by independent computations.

    Arguments that every probe has are those of `metabench.measure`.

    Args:
        tasks: tasks that are checked [tasks]
        directions: random directions of the finite differences [directions]
        thorough: also check against autograd, linear solves and layer by layer

    Returns:
        The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.

    >>> import metabench as mb
    >>> result = mb.verify("sinusoid", algo="maml")
    """
