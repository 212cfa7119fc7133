"""Eight faults of published meta-gradients: where each was seen, and the commands that find it."""

from __future__ import annotations

from typing import NamedTuple

ESTIMATORS = "reports/bugs_of_history/estimators.py"
SOLVERS = "reports/bugs_of_history/solvers.py"
BOWLS = (
    "--algo imaml --set algo.solver={solver} --family quadratic --set family.dim=6 "
    "--set family.condition={condition} --set family.jitter=0 --set algo.proximal_strength=1 "
    "--set algo.steps=20 --set algo.inner_optimizer.rate={rate}"
)


class Fault(NamedTuple):
    """A published fault, rebuilt, and its mended version."""

    name: str  # in the page's table
    seen: str  # library, issue or paper
    url: str  # of the issue or file
    effect: str  # what it does to the meta-gradient
    broken: str  # arguments of `metabench verify`
    mended: str  # the same for the mended version
    named: tuple[str, ...]  # words of which metabench must use one: they name the thing
    line: str  # the line at fault, in words


def black_box(name: str, problem: str, more: str = "") -> str:
    """Write the arguments of `metabench verify` for a black box on a problem."""
    return f"--algo {ESTIMATORS}:{name} --problem {ESTIMATORS}:{problem}{more}"


def solver(name: str, condition: int, rate: float) -> str:
    """Write the arguments of `metabench verify` for implicit MAML with a solver.

    Args:
        name: of the solver's class.
        condition: largest over smallest curvature of the inner loss.
        rate: of the inner steps.
    """
    return BOWLS.format(solver=f"{SOLVERS}:{name}", condition=condition, rate=rate)


FAULTS = (
    Fault(
        "Conjugate gradients with the old residual",
        "betty, issue 15, mended in 2023",
        "https://github.com/leopard-ai/betty/issues/15",
        "The search directions are not conjugate. Twelve products on six unknowns, where six are "
        "exact, leave a third of the right-hand side here, and a hundred leave more. The "
        "maintainer's benchmarks had shown no difference.",
        solver("OldResidual", 20, 0.65),
        solver("NewResidual", 20, 0.65),
        ("linear solve",),
        "the next direction is made of the residual before the step",
    ),
    Fault(
        "A solution one iterate behind",
        "hypertorch, `CG_torch.py`, copied from one project to the next",
        "https://github.com/prolearner/hypertorch/blob/2fc9d93dcfc5d825da5821d38a89181223a8541c/hg/CG_torch.py",
        "The loop ends at convergence before it keeps the new iterate. The easier the system, the "
        "worse the answer: where all curvatures are equal, one step is exact, and the solver "
        "returns its start, 0.",
        solver("OneBehind", 1, 0.5),
        solver("LastIterate", 1, 0.5),
        ("linear solver",),
        "`break` stands before `x_last = x`",
    ),
    Fault(
        "Clipping that is not differentiated",
        "TorchOpt, `torchopt/clip.py`; a `detach()` of this kind was met in the review of "
        "learn2learn's pull request 244",
        "https://github.com/metaopt/torchopt/blob/035a42975522bf4794210b64e76d219cdc5743d5/torchopt/clip.py",
        "The inner gradient is divided by its norm, but the norm is taken as a constant: the "
        "meta-gradient keeps the part along the inner gradient that clipping removes.",
        black_box("clipping", "regression"),
        black_box("clipping_mended", "regression"),
        ("no_grad", "detach"),
        "the norm is computed under `torch.no_grad()`",
    ),
    Fault(
        "One task of 40 reaches the outer optimizer",
        "TorchOpt, `examples/MAML-RL/func_maml.py`",
        "https://github.com/metaopt/torchopt/blob/1bffc0333fa5e51141738a2ad78d3e2c84eb6ebd/examples/MAML-RL/func_maml.py",
        "After each task theta is restored from a detached copy, so the losses of tasks 2 to 40 "
        "lead back to copies that no optimizer holds. Training runs, on one task a step.",
        black_box("one_task", "regression", " --tasks 40"),
        black_box("one_task_mended", "regression", " --tasks 40"),
        ("mean over its tasks",),
        "`params = [p.detach().clone() for p in params]` within the loop over tasks",
    ),
    Fault(
        "A second-order search that is first order",
        "darts-tensorflow, issue 1. The same happened to MAML: MAML-Pytorch, issues 17, 32 and 63, "
        "without `create_graph=True`",
        "https://github.com/NeroLoh/darts-tensorflow/issues/1",
        "DARTS takes the mixed derivative from gradients at w + v and w - v, which were both "
        "evaluated at w, so their difference is 0. The search runs, as the first-order one.",
        black_box("first_order", "search_space"),
        black_box("first_order_mended", "search_space"),
        ("first-order", "first order"),
        "the graph holds one loss, and moving the weights does not compute it again",
    ),
    Fault(
        "Adam's root at zero",
        "higher, issue 125; TorchOpt, issue 26; jax, pull request 3091",
        "https://github.com/facebookresearch/higher/issues/125",
        "Where a gradient entry is exactly 0, as behind a dead unit, the derivative of the root of "
        "Adam's second moment is infinite, and 0 times infinity is NaN. The loss is fine.",
        black_box("adam_root", "regression"),
        black_box("adam_root_mended", "regression"),
        ("square root",),
        "epsilon is added to the root, not under it",
    ),
    Fault(
        "A gradient through a vmapped norm",
        "functorch, issue 534, met when batch norm came to PyTorch's own MAML example (pull "
        "request 505)",
        "https://github.com/pytorch/functorch/issues/534",
        "The batching rule of the fused norms' backward pass is wrong for their input: "
        "`grad(vmap(task))` is off, `vmap(grad(task))` of the same code is right.",
        black_box("fused_norm", "normed"),
        black_box("fused_norm_mended", "normed"),
        ("vmap(grad(task))",),
        "the mean over tasks is differentiated, through the vmap",
    ),
    Fault(
        "An implicit gradient of zero",
        "optimistix, issue 54; jaxopt, issue 270",
        "https://github.com/patrick-kidger/optimistix/issues/54",
        "A minimum does not depend on where the search began, so its implicit gradient in the "
        "initialization is 0. Implicit MAML needs the proximal term, which ties the minimum to "
        "theta. (`--algo imaml --set algo.proximal_strength=0` is refused for this reason.)",
        black_box("no_path", "straight"),
        black_box("no_path_mended", "straight"),
        ("exactly zero",),
        "the inner loss does not contain theta",
    ),
)
