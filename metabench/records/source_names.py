"""How the sources of the variance are called in tables, figures and findings."""

from __future__ import annotations

SOURCE_NAMES = {
    "task": "tasks",
    "support": "support draws",
    "query": "query draws",
    "support x query": "support x query",
    "inner": "inner mini-batches",
    "label": "label permutations",
}


def source_name(of: str) -> str:
    """Return the printed name of a source, of which some draws may be fixed to their task.

    >>> source_name("query"), source_name("task + support")
    ('query draws', 'tasks with their support draws')
    """
    source, *fixed = of.split(" + ")
    name = SOURCE_NAMES.get(source, source)
    if not fixed:
        return name
    return f"{name} with their {' and '.join(SOURCE_NAMES.get(each, each) for each in fixed)}"
