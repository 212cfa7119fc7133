"""Check of any member against the contract of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from metabench.algorithms.black_box import BlackBox
from metabench.families.base import Family
from metabench.families.own_problem import family_of_problem
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.problems.problem import Problem
from metabench.problems.samplers import Indexed, Stream
from metabench.settings import registry
from metabench.settings.errors import InvalidInput, unknown
from metabench.settings.user_errors import user_errors
from metabench.testing.algorithm_contract import check_algorithm
from metabench.testing.black_box_contract import check_black_box
from metabench.testing.family_contract import check_family, check_problem
from metabench.testing.inner_optimizer_contract import check_inner_optimizer
from metabench.testing.probe_contract import check_probe
from metabench.testing.solver_contract import check_solver
from metabench.testing.surrogate_contract import check_surrogate


def check_member(target: str, problem: str | None = None) -> str:
    """Check a member against the contract of its kind, and say what was checked.

    Args:
        target: a listed name, "package.module:NAME" or "path/to/file.py:NAME": a class, which is
            made with its defaults, or what is made already.
        problem: likewise, a Family or a Problem with tasks on which an algorithm or a BlackBox is
            held.

    Returns:
        One sentence.

    Raises:
        InvalidInput: if there is no such member, or it breaks its contract, with the reason.
    """
    with user_errors():
        return _checked(target, problem)


def _checked(target: str, problem: str | None) -> str:
    kind, made = _made(target)
    checks = CONTRACTS[kind]
    if kind in ("algorithms", "black boxes"):
        checks = _on(kind, target, problem)
    elif problem is not None:
        raise InvalidInput(
            f"{target} is not an algorithm, so --problem does not apply; leave it out."
        )
    try:
        for check in checks:
            check(made)
    except AssertionError as error:
        raise InvalidInput(f"{target} breaks the contract of {kind}: {error}.") from error
    return f"{target} keeps the contract of {kind}: {CHECKED[kind]}."


def _made(target: str) -> tuple[str, Any]:
    """Find what is meant, make it if it is a class, and say of which kind it is."""
    found = _found(target)
    if isinstance(found, type):
        _kind(target, found)
        try:
            found = found()
        except TypeError as error:
            raise InvalidInput(
                f"{target} can't be made without arguments: {error}. Make one in the file, "
                "mine = ...(...), and name that."
            ) from error
    if isinstance(found, BlackBox):
        return "black boxes", found
    return "problems" if isinstance(found, Problem) else _kind(target, type(found)), found


def _found(target: str) -> Any:
    if ":" in target:
        return registry.load("algorithms", target)
    names = {name: kind for kind in registry.KINDS for name in registry.members(kind)}
    if target not in names:
        raise unknown("member", target, names)
    return registry.load(names[target], target)


def _kind(target: str, cls: type[Any]) -> str:
    bases = [base.__name__ for base in cls.__mro__]
    for kind, (_, _, base) in registry.KINDS.items():
        if base in bases[1:]:
            return kind
    for kinds, repair in INSTEAD.items():
        if issubclass(cls, kinds):
            raise InvalidInput(f"{target} is a {cls.__name__}, which has no contract; {repair}.")
    known = ", ".join(f"metabench.{base}" for _, _, base in registry.KINDS.values())
    raise InvalidInput(
        f"{target} is of a kind that has no contract; it must derive from one of {known}."
    )


def _on(kind: str, target: str, problem: str | None) -> tuple[Callable[[Any], None], ...]:
    """Hold an estimator on the given problem; an algorithm needs none."""
    if problem is None:
        if kind == "algorithms":
            return CONTRACTS[kind]
        raise InvalidInput(
            f"{target} is a BlackBox, which is made for one problem; name that problem, too: "
            f"--problem {target.rpartition(':')[0]}:NAME, a Problem with tasks."
        )
    _, family = _made(problem)
    if isinstance(family, Problem):
        family = family_of_problem(family)
    if not isinstance(family, Family):
        raise InvalidInput(
            f"--problem takes a Problem with tasks, or a Family; {problem} is neither."
        )
    if kind == "algorithms":
        return (lambda made: check_algorithm(made, family),)
    return (lambda made: check_black_box(made, family),)


CONTRACTS: dict[str, tuple[Callable[[Any], None], ...]] = {
    "algorithms": (
        lambda made: check_algorithm(made, Quadratic(dim=4)),
        lambda made: check_algorithm(made, Sinusoid(hidden=(5,))),
    ),
    "black boxes": (),
    "families": (check_family,),
    "problems": (check_problem,),
    "probes": (check_probe,),
    "inner_optimizers": (check_inner_optimizer,),
    "solvers": (check_solver,),
    "surrogates": (check_surrogate,),
}
CHECKED = {
    "algorithms": (
        "shapes, dtype, vmap against a loop, equal results of two calls, the reported loss, its "
        "derivative if the algorithm is exact, what it declares (adapted, loop, objective, "
        "reference, extend), refusal of negative settings"
    ),
    "black boxes": (
        "shapes, finite numbers, equal results of two calls, the mean over tasks if batched"
    ),
    "families": "addresses, redraws of one part, shapes, dtype, scalar losses",
    "problems": "shapes, tasks that depend on their own address only, scalar losses",
    "probes": (
        "tidy rows, findings and figures from the table alone, equal results of two calls, fields "
        "that it names, merged parts if it is splittable"
    ),
    "inner_optimizers": (
        "shapes, slots, derivatives that agree with finite differences, vmap against a loop, its "
        "growth on a quadratic if it declares one"
    ),
    "solvers": (
        "shapes, a correctly reported residual, history and curvature, x = 0 for b = 0, vmap "
        "against a loop"
    ),
    "surrogates": "shapes, the policy gradient at first order, vmap against a loop",
}
INSTEAD: dict[type[Any], str] = {
    nn.Module: "make a problem of it, Problem.from_module(net, loss, tasks=sampler), and name that",
    Indexed: "give it to its problem, Problem.from_module(net, loss, tasks=...), and name that",
    Stream: "give it to its problem, Problem.from_module(net, loss, tasks=...), and name that",
    type(lambda: None): (
        "make an estimator (theta, task) -> (loss, gradient) a BlackBox(function), or a sampler a "
        "Problem.from_module(net, loss, tasks=sampler), and name that"
    ),
}
