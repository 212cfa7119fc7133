"""The first line of a terminal or a page: what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metabench.records.number_format import number
from metabench.settings.printed_names import printed_name

INITIAL = ("initial", "module")  # names of a theta that was not trained


def settings_line(spec: Mapping[str, Any]) -> str:
    """Return the settings that matter: algorithm, family, K, alpha, B, shots, tasks, theta, seed.

    A setting that the probe, the algorithm or the family doesn't have is left out.

    >>> algo = {"name": "maml", "steps": 5, "inner_optimizer": {"name": "sgd", "rate": 0.1}}
    >>> family, probe = {"name": "sinusoid", "shots": 10}, {"tasks": 64, "batch": 25}
    >>> settings_line({"algo": algo, "family": family, "probe": probe, "theta": "initial"})
    'maml on sinusoid: K = 5, alpha = 0.1, B = 25, 10 shots, 64 tasks, initial theta'
    """
    algo, family, probe = (spec.get(part) or {} for part in ("algo", "family", "probe"))
    names = " on ".join(filter(None, (_name(algo), _name(family))))
    parts = [
        _equal("K", algo.get("steps")),
        _alpha(algo.get("inner_optimizer")),
        _equal("B", probe.get("batch") or (spec.get("outer") or {}).get("batch")),
        _counted(family.get("ways"), "way"),
        _counted(family.get("shots"), "shot"),
        _counted(probe.get("tasks"), "task"),
        _theta(str(spec.get("theta", ""))),
        f"seed {spec['seed']}" if "seed" in spec else "",
    ]
    return ": ".join(filter(None, (names, ", ".join(filter(None, parts)))))


def _name(part: Mapping[str, Any]) -> str:
    return printed_name(str(part.get("name", "")))


def _equal(symbol: str, value: Any) -> str:
    return "" if value is None else f"{symbol} = {_text(value)}"


def _alpha(optimizer: Any) -> str:
    if not isinstance(optimizer, Mapping) or "rate" not in optimizer:
        return ""
    name = "" if optimizer.get("name") in (None, "sgd") else f" ({_name(optimizer)})"
    return f"alpha = {_text(optimizer['rate'])}{name}"


def _counted(count: Any, word: str) -> str:
    return f"{_text(count)} {word}{'s' * (count != 1)}" if isinstance(count, int) else ""


def _theta(name: str) -> str:
    if not name:
        return ""
    file = name.partition("@")[0]
    return "initial theta" if file in INITIAL else f"theta {file}"


def _text(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)
