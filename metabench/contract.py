"""Which contract does a member have to keep, and does it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metabench import plugins, testing
from metabench.families.quadratic import Quadratic
from metabench.families.sinusoid import Sinusoid
from metabench.misuse import Misuse, unknown


def hold(target: str) -> str:
    """Make a member with its defaults, hold it to its contract, and say what was held.

    Args:
        target: a listed name, or "package.module:Class", or "path/to/file.py:Class".

    Returns:
        One sentence.

    Raises:
        Misuse: if there is no such member, or it breaks its contract, with the reason.
    """
    kind, cls = _find(target)
    try:
        made = cls()
    except TypeError as error:
        raise Misuse(f"{target} can't be made without arguments: {error}.") from error
    try:
        for check in CONTRACTS[kind]:
            check(made)
    except AssertionError as error:
        raise Misuse(f"{target} breaks the contract of {kind}: {error}.") from error
    return f"{target} keeps the contract of {kind}: {HELD[kind]}."


def _find(target: str) -> tuple[str, type[Any]]:
    if ":" not in target:
        names = {name: kind for kind in plugins.KINDS for name in plugins.members(kind)}
        if target not in names:
            raise unknown("member", target, names)
        return names[target], plugins.load(names[target], target)
    cls = plugins.load("algorithms", target)
    bases = [base.__name__ for base in cls.__mro__] if isinstance(cls, type) else []
    for kind, (_, _, base) in plugins.KINDS.items():
        if base in bases[1:]:
            return kind, cls
    known = ", ".join(f"metabench.{base}" for _, _, base in plugins.KINDS.values())
    raise Misuse(f"{target} is no class derived from one of {known}.")


CONTRACTS: dict[str, tuple[Callable[[Any], None], ...]] = {
    "algorithms": (
        lambda made: testing.check_algorithm(made, Quadratic(dim=4)),
        lambda made: testing.check_algorithm(made, Sinusoid(hidden=(5,))),
    ),
    "families": (testing.check_family,),
    "probes": (testing.check_probe,),
    "steps": (testing.check_step,),
    "solvers": (testing.check_solver,),
}
HELD = {
    "algorithms": "shapes, dtype, vmap against a loop, same bits twice, the reported loss",
    "families": "addresses, redraws of one part, shapes, dtype, scalar losses",
    "probes": "tidy rows, findings and a figure from the table alone, the same numbers twice",
    "steps": "shapes, slots, a derivative that agrees with finite differences",
    "solvers": "shapes, an honest residual, zero for zero, vmap against a loop",
}
