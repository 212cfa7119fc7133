"""The verdict of a measurement: one sentence that counts and names its findings."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.records.rows import Finding

MOST_NAMED = 4  # findings of one kind in the sentence


def verdict(findings: Sequence[Finding]) -> str:
    """Return one sentence: what is a problem, what is undecided or was not looked at, what is fine.

    >>> fine = Finding("noise_scale", "info", "fine", "", "", ())
    >>> wrong = Finding("estimator_bias", "warning", "fault", "", "", ())
    >>> verdict([fine, wrong])
    '1 problem (estimator bias), 1 fine (noise scale).'
    >>> verdict([fine])
    'No problem found, 1 fine (noise scale).'
    >>> verdict([])
    'No problem found, and nothing was judged.'
    """
    alarms = [each for each in findings if each.level != "info" and each.state != "not_looked_at"]
    known = {state: _in(findings, state) for state in ("not_looked_at", "undecided", "fine")}
    undecided = [each for each in known["undecided"] if each not in alarms]
    count = len(alarms)
    problems = f"{count} problem{'s' * (count > 1)}{_names(alarms)}" if alarms else None
    parts = [
        _counted(known["not_looked_at"], "not looked at"),
        problems or "no problem found",
        _counted(undecided, "undecided"),
        _counted(known["fine"], "fine"),
    ]
    said = ", ".join(filter(None, parts))
    if not alarms and not any(known.values()):
        said += ", and nothing was judged"
    return f"{said[:1].upper()}{said[1:]}."


def _in(findings: Sequence[Finding], state: str) -> list[Finding]:
    return [each for each in findings if each.state == state]


def _counted(findings: Sequence[Finding], word: str) -> str:
    return f"{len(findings)} {word}{_names(findings)}" if findings else ""


def _names(findings: Sequence[Finding]) -> str:
    names = list(dict.fromkeys(each.name.replace("_", " ") for each in findings))
    more = len(names) - MOST_NAMED
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f" ({listed})"
