"""Matching the names of a checkpoint with those of a module that was wrapped otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

# Segments that wrappers put into names: torch.compile, DataParallel; the name of a peft adapter.
WRAPPERS = re.compile(r"(^|(?<=\.))(_orig_mod|module)\.")
ADAPTERS = re.compile(r"(?<=\.)(lora_[AB]|modules_to_save)\.\w+(?=\.)|(lora_embedding_[AB])\.\w+$")


class Match(NamedTuple):
    """Tensors of a checkpoint under the names of a module."""

    tensors: dict[str, Tensor]
    prefix: str  # that was removed from the checkpoint's names
    others: tuple[str, ...]  # names that do not have the prefix


def matches(held: Mapping[str, Tensor], names: Sequence[str], known: Sequence[str]) -> list[Match]:
    """Return every way to find all names in a checkpoint, by the prefix to remove or to add.

    Args:
        held: the checkpoint's tensors.
        names: of theta, all of which must be there.
        known: further names of the module, such as buffers.
    """
    own = {_plain(name): name for name in (*known, *names)}
    plain = {_plain(name): value for name, value in held.items()}
    if len(plain) < len(held) or not names:  # two names became one
        plain = dict(held)
    first = _plain(names[0])
    found = {}
    for key in plain:
        if key == first or key.endswith(f".{first}"):
            prefix = key[: len(key) - len(first)]
            found[prefix] = _removed(plain, prefix, own)
    complete = [match for match in found.values() if set(names) <= match.tensors.keys()]
    if not complete:
        complete = _added(plain, names, own)
    exact = [match for match in complete if not match.prefix]
    return exact or complete


def _removed(plain: Mapping[str, Tensor], prefix: str, own: Mapping[str, str]) -> Match:
    """Return a checkpoint whose names lose a prefix."""
    inside = {key[len(prefix) :]: value for key, value in plain.items() if key.startswith(prefix)}
    others = tuple(key for key in plain if not key.startswith(prefix))
    return Match({own.get(key, key): value for key, value in inside.items()}, prefix, others)


def _added(
    plain: Mapping[str, Tensor], names: Sequence[str], own: Mapping[str, str]
) -> list[Match]:
    """Return a checkpoint of a part of the module, whose names lack the part's own."""
    parts = _plain(names[0]).split(".")
    for depth in range(1, len(parts)):
        prefix = ".".join(parts[:depth]) + "."
        tensors = {own.get(prefix + key, prefix + key): value for key, value in plain.items()}
        if set(names) <= tensors.keys():
            return [Match(tensors, "", ())]
    return []


def _plain(name: str) -> str:
    """Return a name without the segments of wrappers.

    >>> _plain("module.body._orig_mod.0.weight")
    'body.0.weight'
    >>> _plain("base_model.model.0.lora_A.default.weight")
    'base_model.model.0.lora_A.weight'
    """
    return ADAPTERS.sub(lambda found: found[1] or found[2], WRAPPERS.sub("", name))
