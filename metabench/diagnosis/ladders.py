"""The probes of a checkup in order, each at all its fidelities."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from metabench.diagnosis.parts import FIRST
from metabench.probes.base import Probe
from metabench.settings import fields, registry


def fidelities_of(
    common: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]], tasks: int
) -> tuple[dict[str, list[Probe]], dict[str, str]]:
    """Return each listed probe at every fidelity: verify first, then by number of causes.

    Args:
        common: fields set for every probe that has them, such as B.
        chosen: fields that the user set, by probe; they apply to every fidelity.
        tasks: most tasks of a probe without a default of its own.

    Returns:
        The probe at each fidelity, cheapest first, by name; and by name why a probe of another
        package can't be loaded.
    """
    classes, broken = registry.load_all("probes")
    order = sorted(classes, key=lambda name: (name != FIRST, -len(classes[name].causes), name))
    made: dict[str, list[Probe]] = {}
    for name in order:
        cls = classes[name]
        known = fields.types_of(cls)
        given = {key: value for key, value in common.items() if key in known}
        fidelities = [{**fidelity, **given} for fidelity in (*cls.fidelities, {})]
        if "tasks" in known and not cls.has_default_tasks:
            fidelities = [
                {**fidelity, "tasks": min(fidelity.get("tasks", tasks), tasks)}
                for fidelity in fidelities
            ]
        built = [
            fields.build("probes", name, {**fidelity, **chosen.get(name, {})}, name)
            for fidelity in fidelities
        ]
        made[name] = list(dict.fromkeys(built))
    return made, broken


def selected(
    probes: Mapping[str, list[Probe]], only: Collection[str], highest: int | None
) -> dict[str, list[Probe]]:
    """Return the named probes, up to the highest fidelity.

    Args:
        probes: each probe at every fidelity, by name.
        only: names of the probes to keep; empty keeps all.
        highest: highest fidelity to keep, 0 is the cheapest; None keeps all.
    """
    most = None if highest is None else highest + 1
    return {
        name: fidelities[:most] for name, fidelities in probes.items() if not only or name in only
    }
