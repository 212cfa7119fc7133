"""Matching the names of a checkpoint with those of a module that was wrapped otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

# Segments that wrappers put into names: torch.compile, DataParallel; the name of a peft adapter.
WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|module)\.")
ADAPTERS = re.compile(r"(?<=\.)(lora_[AB]|modules_to_save)\.\w+(?=\.)|(lora_embedding_[AB])\.\w+$")

WITHOUT_WRAPPERS = (
    "by its names without what wrappers add to them (module., _orig_mod., an adapter's name)"
)


class Match(NamedTuple):
    """Tensors of a checkpoint under the names of a module."""

    tensors: dict[str, Tensor]
    prefix: str  # that was removed from the checkpoint's names
    others: tuple[str, ...]  # names that do not have the prefix
    how: str  # how the names differ, for a note; "" if they don't


def matches(held: Mapping[str, Tensor], names: Sequence[str], known: Sequence[str]) -> list[Match]:
    """Return every way to find all names in a checkpoint, by the prefix to remove or to add.

    Args:
        held: the checkpoint's tensors.
        names: of theta, all of which must be there.
        known: further names of the module, such as buffers.
    """
    own = {_plain(name): name for name in (*known, *names)}
    plain = {_plain(name): value for name, value in held.items()}
    if len(plain) < len(held):  # two names became one
        plain = dict(held)
    removed = [_removed(plain, prefix, own) for prefix in _prefixes(plain, _plain(names[0]))]
    complete = [match for match in removed if set(names) <= match.tensors.keys()]
    exact = [match for match in complete if not match.prefix]
    if set(names) <= held.keys():
        return [match._replace(how="") for match in exact]
    return exact or complete or _added(plain, names, own)


def _prefixes(held: Iterable[str], name: str) -> list[str]:
    """Return what stands before a name where it ends another one."""
    ends = (key for key in held if key == name or key.endswith(f".{name}"))
    return list(dict.fromkeys(key[: len(key) - len(name)] for key in ends))


def _removed(plain: Mapping[str, Tensor], prefix: str, own: Mapping[str, str]) -> Match:
    """Return a checkpoint whose names lose a prefix."""
    inside = {key[len(prefix) :]: value for key, value in plain.items() if key.startswith(prefix)}
    others = tuple(key for key in plain if not key.startswith(prefix))
    how = f"without the prefix {prefix!r} of its names" if prefix else WITHOUT_WRAPPERS
    return Match({own.get(key, key): value for key, value in inside.items()}, prefix, others, how)


def _added(
    plain: Mapping[str, Tensor], names: Sequence[str], own: Mapping[str, str]
) -> list[Match]:
    """Return a checkpoint of a part of the module, whose names lack the part's own."""
    parts = _plain(names[0]).split(".")
    for depth in range(1, len(parts)):
        prefix = ".".join(parts[:depth]) + "."
        tensors = {own.get(prefix + key, prefix + key): value for key, value in plain.items()}
        if set(names) <= tensors.keys():
            return [Match(tensors, "", (), f"as the part {prefix[:-1]!r} of the module")]
    return []


def _plain(name: str) -> str:
    """Return a name without the segments of wrappers.

    >>> _plain("module.body._orig_mod.0.weight")
    'body.0.weight'
    >>> _plain("base_model.model.0.lora_A.default.weight")
    'base_model.model.0.lora_A.weight'
    """
    return ADAPTERS.sub(lambda found: found[1] or found[2], WRAPPERS.sub("", name))
