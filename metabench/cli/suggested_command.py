"""Commands that the terminal suggests, each with the options of this one, quoted for the shell."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Any

import click
from click.core import ParameterSource

OUTPUTS = ("as_json", "html", "csv")  # the suggested command would replace this one's files


def suggest(
    target: str, changed: dict[str, Any] | None = None, without: Collection[str] = ()
) -> str:
    """Return a command line with all options and arguments of this command that the target has.

    Args:
        target: name of the command, or of a probe: `variance`, `my.py:Hello`.
        changed: values of parameters that replace those given here, by their name.
        without: names of parameters that are left out besides the files that this command writes.
    """
    values = {**_given(without), **(changed or {})}
    words, command = _command(target)
    options, arguments = list[str](), list[str]()
    for parameter in command.params:
        value = values.get(parameter.name or "")
        if isinstance(parameter, click.Argument):
            arguments += _texts(value)
        else:
            options += _option(parameter, value)
    # after "--", a name that begins with "-" is no option
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join([*words, *options, "--", *arguments])
    return shlex.join([*words, *arguments, *options])


def again(changed: dict[str, Any] | None = None) -> str:
    """Return this command line, outputs included.

    Args:
        changed: values of parameters that replace those given here, by their name.
    """
    context = click.get_current_context()
    kept = {name: context.params.get(name) for name in OUTPUTS if _is_given(context, name)}
    return suggest(str(context.info_name), {**kept, **(changed or {})})


def _command(target: str) -> tuple[list[str], click.Command]:
    """Return the words that start a command, and the command."""
    root = click.get_current_context().find_root()
    assert isinstance(root.command, click.Group)
    words = ["metabench", *(["probe"] if ":" in target else []), target]
    group: click.Group = root.command
    context = root
    if ":" in target:
        found = group.get_command(root, "probe")
        assert isinstance(found, click.Group)
        group, context = found, click.Context(found, parent=root, info_name="probe")
    command = group.get_command(context, target)
    assert command is not None
    return words, command


def _given(without: Collection[str]) -> dict[str, Any]:
    """Return the values that the user gave to this command, by parameter."""
    context = click.get_current_context()
    left_out = (*OUTPUTS, *without)
    return {
        name: value
        for name, value in context.params.items()
        if _is_given(context, name) and name not in left_out
    }


def _is_given(context: click.Context, name: str) -> bool:
    given = (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return context.get_parameter_source(name) in given


def _option(parameter: click.Parameter, value: Any) -> list[str]:
    flag = max(parameter.opts, key=len)
    if getattr(parameter, "is_flag", False):
        return [flag] if value else []
    return [word for text in _texts(value) for word in (flag, text)]


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, tuple) else [str(value)]
