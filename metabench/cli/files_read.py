"""Which files does a command read? Those that its words name, and those that its studies name."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from metabench.cli.config_option import CONFIG
from metabench.cli.options import Output
from metabench.settings import member_source

LONGEST = 4096  # path [characters]


def files_read(context: click.Context) -> Iterator[Path]:
    """Yield every file that the words of a command name, other than its outputs."""
    written = {param.name for param in context.command.params if isinstance(param.type, Output)}
    given = [value for name, value in context.params.items() if name not in written]
    config = str(context.meta.get(CONFIG, ""))
    for word in (context.info_name or "", config, *_texts(given)):
        yield from _named(word)


def _named(word: str) -> Iterator[Path]:
    """Yield the files that one word names: a path, `my.py:Hello`, or either after `key=`."""
    for text in {word, word.partition("=")[2]} - {""}:
        path = Path(text)
        if _is(stat.S_IFDIR, path):  # of runs; a store's files are refused without being named
            yield from (path / "record.json", *path.glob("*/record.json"))
        elif _is(stat.S_IFREG, path):
            yield path
            if path.suffix.lower() == ".toml":
                yield from _of_study(path)
        yield from _code(text)


def _code(text: str) -> Iterator[Path]:
    """Yield the file of a member: `my.py:Hello` or `my_pkg.module:Hello`."""
    module, colon, _ = text.rpartition(":")
    if colon and len(module) <= LONGEST and (path := member_source.path_of(module)):
        yield path


def _of_study(study: Path) -> Iterator[Path]:
    """Yield the files that a study names, which lie relative to it."""
    try:
        texts = list(_texts([tomllib.loads(study.read_text(encoding="utf-8"))]))
    except (OSError, ValueError, RecursionError):  # reading it as a study says what is wrong
        return
    for text in texts:
        yield from _code(str(study.parent / text) if ".py:" in text else text)
        for path in (study.parent / text, *_matches(study.parent, text)):
            if _is(stat.S_IFREG, path):
                yield path


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Return what matches a pattern; most texts of a study are none."""
    try:
        return list(folder.glob(pattern)) if "*" in pattern else []
    except (OSError, ValueError, NotImplementedError):  # an absolute one, or **x
        return []


def _is(kind: int, path: Path) -> bool:
    """Tell what lies at a path, which may be any text, too long a name included."""
    try:
        return stat.S_IFMT(path.stat().st_mode) == kind
    except (OSError, ValueError):
        return False


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield every text and path in nested values."""
    for value in values:
        if isinstance(value, str | Path):
            yield str(value)
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)
