"""The option `--theta`: one file, or several files and quoted patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from metabench.settings.errors import InvalidInput

ABOUT = "File of a trained theta, .pt or .safetensors.  [default: the initial theta]"
SEVERAL = "File of a trained theta, or a pattern; can be repeated.  [default: the initial theta]"


def theta(about: str = ABOUT) -> Callable[..., Any]:
    """Add `--theta`, a file of a trained theta."""
    return click.option("--theta", multiple=True, metavar="FILE", callback=_one_theta, help=about)


def thetas(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--theta`, files of trained thetas, which are measured one after another."""
    several = click.option(
        "--theta", multiple=True, metavar="FILE", callback=_several_thetas, help=SEVERAL
    )
    return several(command)


def _several_thetas(
    context: click.Context, option: click.Parameter, given: Sequence[str]
) -> tuple[str, ...]:
    return tuple(dict.fromkeys(file for pattern in given for file in _files(pattern)))


def _one_theta(context: click.Context, option: click.Parameter, given: Sequence[str]) -> str:
    files = _several_thetas(context, option, given)
    if len(files) > 1:
        raise InvalidInput(
            f"--theta names {len(files)} files, {files[0]} to {files[-1]}; this command takes one."
        )
    return files[0] if files else ""


def _files(pattern: str) -> list[str]:
    """Return the files that match a pattern; a name that is no pattern stays as it is."""
    path = Path(pattern)
    if path.exists() or not any(letter in pattern for letter in "*?["):
        return [pattern]
    found = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    if not found:
        raise InvalidInput(f"No file matches --theta {pattern!r}.")
    return found
