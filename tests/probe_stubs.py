"""Write `probe_functions.pyi`, which shows the functions of probes to type checkers and editors.

`python tests/probe_stubs.py` writes it; tests/measurement/test_one_line.py holds it to the probes.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import metabench
from metabench.measurement.probe_functions import documentation, signature
from metabench.probes import members
from metabench.settings import registry

STUB = Path(metabench.__file__).parent / "measurement" / "probe_functions.pyi"
HEAD = '''"""Functions of the listed probes; written by tests/probe_stubs.py, not by hand."""

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
'''


def stub() -> str:
    return "\n".join([HEAD, *map(_function, sorted(members.MEMBERS))])


def _function(name: str) -> str:
    cls = registry.load("probes", name)
    lines = [f"def {name}("]
    star = False
    for each in signature(cls).parameters.values():
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            lines.append("    *,")
            star = True
        default = "..." if each.name == "progress" else _text(each.default)
        lines.append(f"    {each.name}: {each.annotation} = {default},")
    doc = documentation(name, cls).replace("\n", "\n    ").replace("\n    \n", "\n\n")
    return "\n".join([*lines, ") -> Result:", f'    """{doc}\n    """', ""])


def _text(default: object) -> str:
    if default == float("inf"):
        return "math.inf"
    return repr(default).replace("'", '"')


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
