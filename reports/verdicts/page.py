"""The page of the study: the confusion matrix, and what was said of each case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from reports.verdicts.cases import Fault, Healthy

Line = dict[str, str]
VERDICTS = ("fault", "undecided", "not_looked_at", "fine", "raised")
HEAD = """# What `verify` says of planted faults and of awkward right gradients

`python reports/verdicts/run.py` makes this page and its two tables
([how it counts](README.md)). A fault is planted in the gradient alone; the loss is the right one.

"""
FLOOR = (
    "No difference decides these. The floor is what round-off alone may make, as a relative error."
)


def page(
    faults: Sequence[Fault],
    healthy: Sequence[Healthy],
    of_faults: Sequence[Line],
    of_healthy: Sequence[Line],
) -> str:
    """Write the page.

    Args:
        faults: the list, which says what must be resolved.
        healthy: the list of healthy cases.
        of_faults: lines of the faults' table.
        of_healthy: lines of the healthy cases' table.
    """
    resolved = {each.name: each.resolved for each in faults}
    groups = {
        "faults that differences resolve": [each for each in of_faults if resolved[each["name"]]],
        "faults that they don't": [each for each in of_faults if not resolved[each["name"]]],
        "right gradients": list(of_healthy),
    }
    text = HEAD + _matrix(groups) + _sentence(groups)
    text += _missing("Faults", faults, of_faults) + _missing("Right ones", healthy, of_healthy)
    text += _wrong(groups)
    text += (
        "\n## Undecided\n\n" + FLOOR + "\n\n| case | seed | verdict | floor |\n|---|---|---|---|\n"
    )
    for each in (*groups["faults that they don't"], *groups["right gradients"]):
        if each["verdict"] == "undecided" or not resolved.get(each["name"], True):
            text += _row(
                each["name"], each["seed"], each["verdict"], each["floor"] or "not measured"
            )
    text += "\n## Faults, and the first warning\n\n| fault | named | said |\n|---|---|---|\n"
    for each in groups["faults that differences resolve"]:
        text += _row(each["name"], "yes" if each["named"] == "True" else "NO", each["said"])
    return text


def _wrong(groups: dict[str, list[Line]]) -> str:
    """List what is not as it should be: faults called fine or not named, right ones accused."""
    resolved, open_, right = groups.values()
    bad = [each for each in resolved if each["named"] != "True"]
    bad += [each for each in open_ if each["verdict"] in ("fine", "raised")]
    bad += [each for each in right if each["verdict"] in ("fault", "raised")]
    text = "\n## Not as it should be\n\n" + ("" if bad else "None.\n")
    for each in bad:
        text += f"- {each['name']}, seed {each['seed']}: {each['verdict']}. {each['said']}\n"
    return text


def _missing(what: str, cases: Sequence[Fault | Healthy], lines: Sequence[Line]) -> str:
    """Say of how many cases lines are missing, and which these are.

    Args:
        what: the cases are, in a word.
        cases: the whole list.
        lines: of their table.
    """
    there = {each["name"] for each in lines}
    names = [each.name for each in cases if each.name not in there]
    if not names:
        return ""
    run = f"{len(cases) - len(names)} of {len(cases)} run"
    return f"\n**{what}: {run}.** Not run yet (`--missing` runs them): {', '.join(names)}.\n"


def _matrix(groups: dict[str, list[Line]]) -> str:
    text = f"| planted | cases | {' | '.join(VERDICTS)} |\n|---|---|{'---|' * len(VERDICTS)}\n"
    for name, lines in groups.items():
        counts = Counter(each["verdict"] for each in lines)
        text += _row(name, str(len(lines)), *(str(counts[each]) for each in VERDICTS))
    return text


def _sentence(groups: dict[str, list[Line]]) -> str:
    first, *_ = groups.values()
    named = sum(each["named"] == "True" for each in first)
    seconds = sum(float(each["seconds"]) for lines in groups.values() for each in lines)
    return (
        f"\nThe first warning names a cause of the planted set in {named} of {len(first)}. "
        f"All cases took {seconds:.0f} s of one processor.\n"
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(_plain(cells))} |\n"


def _plain(cells: Iterable[str]) -> list[str]:
    return [each.replace("|", "\\|") for each in cells]
