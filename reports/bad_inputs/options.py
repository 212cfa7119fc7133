"""Bad values of every option and argument of every command, made from the commands themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from metabench.cli.main import main
from reports.bad_inputs.case import Case, Prepare
from reports.bad_inputs.good_files import SMALL

LONG = "a" * 5000
WHOLE = ("x", "", "1.5", "nan", "inf", "1e3", "9" * 5000, "0x10", "true", "1 2", "-")
# texts that no name, file, amount or address is
TEXTS = (" ", ":", "x:", ":x", ".py:", "nope.py:X", "os:system", "a\nb", "../../etc/passwd",
         "%s%n", "'; true", "\N{COLLISION SYMBOL}", LONG, "-", "None", "[]", "{}", "a\0b",
         "\udcff")  # fmt: skip
OUTPUTS = ("missing/page.x", "folder", "file.txt/page.x", "/proc/page.x", "/dev/null", LONG,
           "a\0b", "\udcff", "")  # fmt: skip
FOLDERS = ("file.txt", "file.txt/x", "/proc/x", LONG, "a\0b", "\udcff")
INPUTS = ("missing", "folder", "pipe", "/dev/zero", "link", "empty", "binary", LONG, "a\0b",
          "\udcff", "")  # fmt: skip
# what fills the required arguments of a command
FILLED = {"study": "study.toml", "sources": "table.csv", "file": "lost.replay.safetensors",
          "a": "study.toml", "b": "study.toml", "digest": "0", "member": "maml", "array": "2",
          "kind": "problem", "part": "0/1"}  # fmt: skip
FILES_WRITTEN = ("html", "page", "csv", "save", "output", "table")
FOLDERS_WRITTEN = ("export", "tensorboard_to", "store")
FILES_READ = ("study", "sources", "file", "a", "b", "theta")
# texts for which blanks or any words are right
FREE = ("trusted", "digests", "assignments", "partition", "account", "sbatch")


def command_lines() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with the words that begin it; a user's probe stands for all of theirs."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if isinstance(command, click.Group):
            inner = command.get_command(click.Context(command, parent=context), "my.py:Hello")
            assert inner is not None
            yield (name, "my.py:Hello"), inner
        elif command is not None:
            yield (name,), command


def cases() -> Iterator[Case]:
    """Yield the cases of all commands."""
    for words, command in command_lines():
        required = _required(command)
        small = SMALL if any(p.name == "family" for p in command.params) else ()
        start = (*words, *small)
        yield from _misused(words, command, required)
        for parameter in command.params:
            others = [
                word for p, given in required.items() if p != parameter.name for word in given
            ]
            for value, bad, prepare in _values(parameter):
                name = f"{' '.join(words)}: {parameter.name} = {value[:20]!r}"
                given = _given(parameter, value)
                if isinstance(parameter, click.Argument):  # in its place among the others
                    line = [w for p, g in {**required, parameter.name or "": given}.items()
                            for w in g]  # fmt: skip
                    yield Case("argument", name, (*start, *line), bad, prepare)
                else:
                    yield Case("option", name, (*start, *others, *given), bad, prepare)


def _misused(
    words: tuple[str, ...], command: click.Command, required: dict[str, list[str]]
) -> Iterator[Case]:
    """Yield command lines with too few, too many and unknown words."""
    name = " ".join(words)
    filled = [word for given in required.values() for word in given]
    yield Case("misuse", f"{name}: unknown option", (*words, *filled, "--nonsense"))
    yield Case("misuse", f"{name}: unknown short option", (*words, *filled, "-Z"))
    if not any(isinstance(p, click.Argument) and p.nargs == -1 for p in command.params):
        yield Case("misuse", f"{name}: more words", (*words, *filled, "more", "words"))
    if required:
        yield Case("misuse", f"{name}: nothing given", words)
    for parameter in command.params:
        flag = max(parameter.opts, key=len)
        if getattr(parameter, "is_flag", False):
            yield Case("misuse", f"{name}: {flag}=yes", (*words, *filled, f"{flag}=yes"))
        elif isinstance(parameter, click.Option):
            yield Case("misuse", f"{name}: {flag} without a value", (*words, *filled, flag))


def _required(command: click.Command) -> dict[str, list[str]]:
    """Map required parameters to the words that give them good values."""
    return {
        p.name or "": _given(p, FILLED[p.name or ""])
        for p in command.params
        if p.required or (isinstance(p, click.Argument) and p.name == "digest" and p.required)
    }


def _given(parameter: click.Parameter, value: str) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [value]
    return [max(parameter.opts, key=len), value]


def _values(parameter: click.Parameter) -> Iterator[tuple[str, bool, Prepare | None]]:
    """Yield values of a parameter, whether they must be refused, and how their file is made."""
    name, kind = parameter.name or "", parameter.type
    if getattr(parameter, "is_flag", False) or name == "help":
        return
    if isinstance(kind, click.Choice):
        yield from ((value, True, None) for value in ("nope", "", "WARNING ", "0", "\udcff"))
    elif isinstance(kind, click.types.IntParamType):
        yield from ((value, True, None) for value in WHOLE)
        least = getattr(kind, "min", None)
        yield "-1", (least is not None and least >= 0) or name == "seed", None
    elif name in FILES_READ:
        # without a name, theta is the initial one; a source may be the folder of the command
        for value in INPUTS[:-1] if name == "theta" else INPUTS:
            yield value, value != "" or name != "sources", partial(_make, value)
    else:
        yield from ((value, bad, None) for value, bad in _texts(name))


def _texts(name: str) -> Iterator[tuple[str, bool]]:
    """Yield texts for a file that is written, or for what a name stands for."""
    for value in (
        OUTPUTS if name in FILES_WRITTEN else FOLDERS if name in FOLDERS_WRITTEN else TEXTS
    ):
        if name in FREE:
            yield value, "\0" in value or "\udcff" in value
        elif name == "store":  # one that isn't there yet may be planned
            yield value, value not in ("/proc/x", LONG)
        else:
            yield value, not (name.startswith("probe_") and value == " ")  # a field may be blank


def _make(kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(kind)
    elif kind == "link":
        Path(kind).symlink_to("nowhere")
    elif kind in ("empty", "binary"):
        Path(kind).write_bytes(bytes(range(256)) if kind == "binary" else b"")
