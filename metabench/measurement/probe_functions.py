"""A function for each listed probe, `mb.variance(..)`, made from the list of probes.

`probe_functions.pyi` beside this file shows the same functions to type checkers and editors;
`python tests/probe_stubs.py` writes it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

from metabench.measurement.one_line import measure
from metabench.measurement.result import Result
from metabench.settings import registry

OWN = ("probe", "fields")  # parameters of `measure` that a probe's function doesn't have


@functools.cache
def probe_function(name: str) -> Callable[..., Result]:
    """Return the function of a listed probe: `measure` with this probe, and its fields by name.

    >>> import metabench as mb
    >>> mb.verify("quadratic", tasks=2, thorough=False).verdict
    'No problem found, 1 fine (verified).'
    """

    def run(*args: Any, **given: Any) -> Result:
        problem = args or (given.pop("problem", "sinusoid"),)
        return measure(*problem, name, **given)

    cls = registry.load("probes", name)
    run.__name__ = run.__qualname__ = name
    run.__module__ = "metabench"
    run.__doc__ = documentation(name, cls)
    run.__signature__ = signature(cls)  # type: ignore[attr-defined]
    return run


def signature(cls: type[Any]) -> inspect.Signature:
    """Return the signature of a probe's function: that of `measure`, then the probe's fields."""
    shared = inspect.signature(measure).parameters.values()
    common = [each for each in shared if each.name not in OWN]
    taken = [each.name for each in common]
    own = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(field),
            annotation=field.type,
        )
        for field in _fields(cls)
        if field.name not in taken
    ]
    return inspect.Signature([*common, *own], return_annotation="Result")


def documentation(name: str, cls: type[Any]) -> str:
    """Return the docstring of a probe's function: the probe's summary, and what each field is."""
    summary = inspect.cleandoc(cls.__doc__ or cls.__name__).partition("\n")[0]
    comments = registry.comments(cls)
    lines = [f"    {field.name}: {comments.get(field.name, '')}".rstrip() for field in _fields(cls)]
    return "\n".join(
        [
            summary,
            "",
            "Arguments that every probe has are those of `metabench.measure`.",
            *(["", "Args:", *lines] if lines else []),
            "",
            "Returns:",
            "    The result: `.table`, `.findings`, `.verdict`, `.figure()`, `.save(path)`.",
            "",
            ">>> import metabench as mb",
            f'>>> result = mb.{name}("sinusoid", algo="maml")',
        ]
    )


def _fields(cls: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty


def __getattr__(name: str) -> Callable[..., Result]:
    """Return the function of a listed probe."""
    if name.startswith("_") or name not in registry.members("probes"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return probe_function(name)
