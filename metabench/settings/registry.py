"""From a name to a class: `members.py` of a kind's folder, entry points, or `package.module:Name`.

Listing imports nothing; `member_source` says what a member is without importing it either.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import operator
import re
import sys
import traceback
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from metabench.settings.errors import InvalidInput, text_of, unknown
from metabench.settings.source_digest import digest_of_source

# kind -> (module whose MEMBERS lists ours, word for messages, name of the base class)
KINDS = {
    "algorithms": ("metabench.algorithms.members", "algorithm", "Algorithm"),
    "families": ("metabench.families.members", "family", "Family"),
    "probes": ("metabench.probes.members", "probe", "Probe"),
    "inner_optimizers": (
        "metabench.algorithms.inner_optimizers.members",
        "inner optimizer",
        "InnerOptimizer",
    ),
    "solvers": ("metabench.linalg.solvers.members", "solver", "Solver"),
    "surrogates": ("metabench.problems.reinforcement.surrogates.members", "surrogate", "Surrogate"),
}

# groups of settings that are no member's -> "module:Class" of their dataclass
GROUPS = {
    "compute": "metabench.estimation.vectorization:Vectorization",
    "outer": "metabench.outer_loop.optimizer_settings:OuterOptimizer",
    "trial": "metabench.diagnosis.trial:Trial",
    "study": "metabench.grid.study.plain_settings:Plain",
}


def members(kind: str) -> dict[str, str]:
    """Map the names of one kind to "module:Class"; other packages can't replace ours."""
    ours: dict[str, str] = importlib.import_module(KINDS[kind][0]).MEMBERS
    theirs = _entry_points(f"metabench.{kind}", tuple(sys.path))
    return {**ours, **{name: value for name, value in theirs.items() if name not in ours}}


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """Read other packages' lists once for each import path: 7 ms, which a grid pays ten times."""
    return {
        point.name: f"{point.module}:{point.attr}" if ":" in point.value else point.value
        for point in entry_points(group=group)
    }


def load(kind: str, name: str) -> type[Any]:
    """Import the class behind a name, "package.module:Class" or "path/to/file.py:Class".

    Raises:
        InvalidInput: if there is no such member, module or class.
    """
    known = members(kind)
    target = name if ":" in name else known.get(name)
    if target is None:
        if name.endswith(".py"):
            raise InvalidInput(f"{name} is a file without a name in it; give {name}:NAME.")
        raise unknown(KINDS[kind][1], name, known)
    return load_target(target)


def load_all(kind: str) -> tuple[dict[str, type[Any]], dict[str, str]]:
    """Import the class behind every listed name of a kind.

    Returns:
        The classes by name; and by name why a member of another package can't be loaded.
    """
    ours = importlib.import_module(KINDS[kind][0]).MEMBERS
    found, broken = {}, {}
    for name, target in members(kind).items():
        try:
            found[name] = _of_kind(kind, load_target(target), target)
        except InvalidInput as error:
            if name in ours:
                raise
            broken[name] = str(error)
    return found, broken


def load_target(target: str) -> type[Any]:
    """Import the class behind "package.module:Class" or "path/to/file.py:Class".

    Raises:
        InvalidInput: if there is no such module or class.
    """
    module, colon, attribute = target.rpartition(":")
    if not (colon and attribute):
        raise InvalidInput(f"{target!r} names no class; it must be package.module:Class.")
    home = _from_file(Path(module)) if module.endswith(".py") else _imported(module, target)
    try:
        found: type[Any] = operator.attrgetter(attribute)(home)
    except AttributeError as error:
        raise InvalidInput(f"{target!r} can't be loaded: {module} has no {attribute!r}.") from error
    return found


def _of_kind(kind: str, cls: Any, target: str) -> type[Any]:
    base = KINDS[kind][2]
    if isinstance(cls, type) and base in [each.__name__ for each in cls.__mro__]:
        return cls
    raise InvalidInput(f"{target} does not derive from metabench.{base}.")


def load_listed(kind: str, name: str) -> type[Any]:
    """Import the class behind a listed name, and see that it is one of the kind.

    Raises:
        InvalidInput: if it can't be imported, or is no class of the kind.
    """
    target = members(kind)[name]
    return _of_kind(kind, load_target(target), target)


def name_of(kind: str, cls: type[Any]) -> str:
    """Return the listed name of a class, or its "module:Class" if it has none."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    return next((name for name, value in members(kind).items() if value == target), target)


def _imported(module: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except (ImportError, TypeError, ValueError) as error:  # the last two: "" and ".name"
        raise InvalidInput(f"{target!r} can't be loaded: {error}.") from error
    except (Exception, SystemExit) as error:  # whatever another package's code may raise
        why = f"{type(error).__name__} on import: {text_of(error)}"
        raise InvalidInput(f"{target!r} can't be loaded: {why}.") from error


class _Unkept(SourceFileLoader):
    """Compile what the file holds now: cached bytecode is compared by time and size only."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        made: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return made


def _from_file(path: Path) -> ModuleType:
    """Import a file under a name made of its code, so that changed code is another module."""
    if not path.is_file():
        raise InvalidInput(f"There is no file {str(path)!r}.")
    name = f"{path.stem}@{digest_of_source(path)}"
    if name not in sys.modules:
        loader = _Unkept(name, str(path.resolve()))
        place = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert place is not None
        assert place.loader is not None
        module = importlib.util.module_from_spec(place)
        sys.modules[name] = module  # dataclasses look their module up while it is being read
        try:
            place.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise InvalidInput(
                f"{path} raised {type(error).__name__} on import: {text_of(error)}."
                f"{_lines(error, path)}"
            ) from error
    return sys.modules[name]


def _lines(error: BaseException, path: Path) -> str:
    """Return the lines of a traceback that are in the file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename) == path.resolve()]
    return "".join(f"\n  line {f.lineno}, in {f.name}: {f.line}" for f in own)


def comments(cls: type[Any]) -> dict[str, str]:
    """Map each field of a dataclass, inherited ones too, to the comment on its line."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base is object or "__dataclass_fields__" not in base.__dict__:
            continue
        for line in inspect.getsource(base).splitlines():
            match = re.match(r"    (\w+): .*#\s*(.+)$", line)
            if match:
                found[match[1]] = match[2].strip()
    return found
