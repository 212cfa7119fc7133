"""Which probes are asked, in which order, and how much dearer may each become?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from metabench.diagnosis.parts import FIRST
from metabench.probes.base import Probe
from metabench.settings import fields, registry


def fidelities_of(
    common: Mapping[str, Any], chosen: Mapping[str, Mapping[str, Any]], tasks: int
) -> dict[str, list[Probe]]:
    """Give each listed probe at every fidelity: verify first, then who can warn of most.

    Args:
        common: fields that every probe which has them is told, such as the B trained with.
        chosen: fields that the user set, by probe; they hold at every fidelity.
        tasks: most tasks of a probe whose number follows the family's.

    Returns:
        By name, the probe at each fidelity, the cheapest first.
    """
    classes = {name: registry.load("probes", name) for name in registry.members("probes")}
    order = sorted(classes, key=lambda name: (name != FIRST, -len(classes[name].causes), name))
    made: dict[str, list[Probe]] = {}
    for name in order:
        cls = classes[name]
        known = fields.types_of(cls)
        told = {key: value for key, value in common.items() if key in known}
        fidelities = [{**rung, **told} for rung in (*cls.fidelities, {})]
        if "tasks" in known and not cls.has_default_tasks:
            fidelities = [
                {**rung, "tasks": min(rung.get("tasks", tasks), tasks)} for rung in fidelities
            ]
        built = [
            fields.build("probes", name, {**rung, **chosen.get(name, {})}, name)
            for rung in fidelities
        ]
        made[name] = list(dict.fromkeys(built))
    return made


def selected(
    probes: Mapping[str, list[Probe]], only: Collection[str], highest: int | None
) -> dict[str, list[Probe]]:
    """Leave out probes that aren't asked, and fidelities that are too high."""
    most = None if highest is None else highest + 1
    return {
        name: fidelities[:most] for name, fidelities in probes.items() if not only or name in only
    }
